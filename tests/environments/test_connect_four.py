"""Connect Four: its rules by hand, its opponents, and self-play."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import save_untrained
from scripts import assert_refused, run

from config import Config
from console.errors import InputError
from environments.known import symmetries_of
from environments.make import make_env
from examples import match
from examples.connect_four import ME, OTHER, Board, ConnectFour
from examples.opponents import load_player, models_in
from examples.self_play import KeepSelves, check_folder
from storage.loading import load_q_values
from storage.model_file import read_model
from train import train

ENV = "examples.connect_four:ConnectFour"


def board(*rows: str) -> Board:
    """A board whose lowest rows are these: X for me, O for the other."""
    made = Board()
    values = {".": 0, "X": ME, "O": OTHER}
    made.cells[6 - len(rows) :] = [[values[sign] for sign in row] for row in rows]
    return made


@pytest.mark.parametrize(
    ("rows", "column"),
    [
        (("XXX....",), 3),  # the end of a row
        (("X.XX...",), 1),  # a gap in a row
        ((".X.....", ".X.....", ".X....."), 1),
        # Up to the right from the lowest cell on the left: the disc in column 3 lands on three others.
        (("..XO...", ".XOX...", "XOOO..."), 3),
        # Down to the right, and the missing disc is inside: column 1 is two high.
        (("X......", "O......", "OOX....", "OOOX..."), 1),
    ],
)
def test_four_in_a_row_wins_in_every_direction(rows: tuple[str, ...], column: int) -> None:
    assert board(*rows).drop(column, ME)
    assert not board(*rows).drop(column, OTHER)  # the same place, but no row of the other's discs
    mirrored = board(*(row[::-1] for row in rows))
    assert mirrored.drop(6 - column, ME)


def test_a_row_does_not_go_on_around_the_edge() -> None:
    assert not board("X....XX").drop(4, ME)  # 4, 5, 6 and 0
    assert not board("XX...X.").drop(6, ME)


def test_discs_fall_to_the_bottom_and_a_full_column_is_closed() -> None:
    made = board("..O....")
    made.drop(2, ME)
    assert made.cells[5, 2] == OTHER and made.cells[4, 2] == ME and np.count_nonzero(made.cells) == 2
    for player in (OTHER, ME, OTHER, ME):
        made.drop(2, player)
    assert made.open_columns.tolist() == [True, True, False, True, True, True, True]


def test_each_side_sees_its_own_discs_first() -> None:
    mine, other = board("XO.....").seen_by(ME), board("XO.....").seen_by(OTHER)
    assert mine[5, 0].tolist() == [1, 0] and mine[5, 1].tolist() == [0, 1]
    assert np.array_equal(other, mine[:, :, ::-1])


def test_the_mirror_is_a_symmetry() -> None:
    _, mirror = symmetries_of(ConnectFour())
    one, other = board("XXO.O..", "XOX.O.X"), board("..O.OXX", "X.O.XOX")
    assert np.array_equal(mirror.observations(one.seen_by(ME)[None])[0], other.seen_by(ME))
    assert mirror.actions.tolist() == [6, 5, 4, 3, 2, 1, 0]


class Scripted:
    """An opponent that plays these columns."""

    def __init__(self, *columns: int) -> None:
        self._columns = iter(columns)

    def begin(self, generator: np.random.Generator) -> None: ...

    def act(self, observation: Any, mask: np.ndarray, generator: np.random.Generator) -> int:
        return next(self._columns)


def test_a_match_gives_each_player_the_first_move_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(match, "OPENING", 0)
    columns = [Scripted(*column * 50) for column in ((1,), (2,), (3, 4))]
    one, other, harmless = columns
    # Four in a column: whoever begins is the first. A player of two columns makes no row in four moves.
    assert match.play_match(one, other, openings=3, seed=0).tolist() == [3, 0, 3]  # type: ignore[arg-type]
    assert match.play_match(harmless, one, openings=1, seed=0).tolist() == [0, 0, 2]  # type: ignore[arg-type]


def started(opponent: Any, cells: Board) -> ConnectFour:
    """An environment in which the player is to move on this board."""
    env = ConnectFour()
    env.reset(seed=0)
    env._opponent, env._board = opponent, cells
    return env


def test_rewards_are_of_the_player_that_wins() -> None:
    for columns, reward in (((6, 6, 6, 6), 1), ((0, 1, 3, 5), -1)):
        env = started(Scripted(2, 2, 2, 2), Board())  # its fourth disc in column 2 comes after the player's fourth
        steps = [env.step(column) for column in columns]
        assert [step[1:3] for step in steps] == [(0, False)] * 3 + [(reward, True)]
        assert steps[-1][4]["is_success"] is (reward == 1)


def test_a_full_column_is_refused() -> None:
    env = started(Scripted(6), board(*["X.O...."] * 3, *["O.X...."] * 3))
    with pytest.raises(ValueError, match="column 0 is full"):
        env.step(0)
    assert env.step(1)[4]["action_mask"].tolist()[:3] == [0, 1, 0]


def test_a_full_board_without_a_row_is_a_draw() -> None:
    # Neighbours in a row differ, and every second row is the opposite of the one above, so no line has three alike.
    env = started(Scripted(), board("OXOXOX.", "OXOXOXO", "XOXOXOX", "XOXOXOX", "OXOXOXO", "OXOXOXO"))
    _, reward, terminated, truncated, info = env.step(6)
    assert (reward, terminated, truncated, info["is_success"]) == (0, True, False, False)
    assert not info["action_mask"].any()


def games(opponent: str, seed: int) -> list[bytes]:
    """The observations of ten games of the first legal column."""
    env = ConnectFour(opponent)
    seen = []
    for game in range(10):
        observation, info = env.reset(seed=seed if game == 0 else None)
        ended = False
        while not ended:
            seen.append(observation.tobytes())
            observation, _, ended, _, info = env.step(int(np.argmax(info["action_mask"])))
    return seen


@pytest.fixture(scope="module")
def selves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("selves")
    for seed in range(2):
        save_untrained(folder / f"{seed}.model", Config(env=ENV, seed=seed, network="dense"))
    return folder


def test_the_opponents_play_repeats_with_a_seed(selves: Path) -> None:
    for opponent in ("random", str(selves)):
        assert games(opponent, 1) == games(opponent, 1) != games(opponent, 2)


def answers(env: ConnectFour, seed: int) -> bytes:
    """What the opponent does against discs in three columns of an empty board."""
    env.reset(seed=seed)
    env._board = Board()
    return b"".join(env.step(column)[0].tobytes() for column in (3, 1, 6))


def test_a_folder_plays_with_each_of_its_models(selves: Path) -> None:
    one, other = (answers(ConnectFour(str(path)), 0) for path in models_in(selves))
    assert one != other
    env = ConnectFour(str(selves))
    assert {answers(env, seed) for seed in range(20)} == {one, other}


def test_models_that_share_a_network_keep_their_own_weights(selves: Path) -> None:
    seen = np.stack([board("XXO.O..").seen_by(ME), board("..O.OXX").seen_by(ME)])
    players = [load_player(path, ConnectFour()) for path in models_in(selves)]
    for path, player in zip(models_in(selves), players, strict=True):
        expected = load_q_values(read_model(path, only_weights=True), ConnectFour())(seen)
        np.testing.assert_allclose(player(seen), expected, rtol=1e-5)
    assert not np.allclose(players[0](seen), players[1](seen))


def test_a_file_that_cannot_play_is_refused(selves: Path, saved_model: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no model file .*none\.model"):
        ConnectFour(f"{tmp_path}/none.model")
    with pytest.raises(InputError, match=r"x\.model was made for observations Box.*but ConnectFour has Box"):
        ConnectFour(str(saved_model[0]))
    custom = f"{Path(__file__).parents[2]}/examples/networks.py:per_action"
    save_untrained(tmp_path / "own.model", Config(env=ENV, network=custom))
    with pytest.raises(InputError, match=r"own\.model has a network of its own code"):
        ConnectFour(f"{tmp_path}/own.model")


def test_a_missing_opponent_is_one_line(tmp_path: Path) -> None:
    command = ["train.py", "--check", "--env", ENV, "--logs-dir", str(tmp_path), "--models-dir", str(tmp_path)]
    assert_refused(run(*command, "--env-args", "opponent=none.model"), "there is no model file none.model")


def test_self_play_needs_a_new_folder(selves: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a folder"):
        check_folder(Config(env=ENV), resumed=False)
    with pytest.raises(InputError, match="needs a folder"):
        check_folder(Config(env=ENV, env_args={"opponent": "x.model"}), resumed=False)
    taken = Config(env=ENV, env_args={"opponent": str(selves)})
    with pytest.raises(InputError, match="holds models of another run"):
        check_folder(taken, resumed=False)
    check_folder(taken, resumed=True)
    check_folder(Config(env=ENV, env_args={"opponent": f"{tmp_path}/new"}), resumed=False)
    assert (tmp_path / "new").is_dir()


def test_self_play_keeps_selves_and_repeats(small_config: Callable[..., Config], tmp_path: Path) -> None:
    ends = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        config = small_config(env=ENV, env_args={"opponent": str(folder)}, learn_start=16, aggregate_every=10)
        last = train(config, [KeepSelves(config, selves=3)], quiet=True).last
        assert last
        # Windows end after 10, 20, ... 60 episodes: the first in each third of the run saves.
        found = [read_model(path, only_weights=True) for path in models_in(folder)]
        assert [saved.path.name for saved in found] == ["00.model", "01.model", "02.model"]
        assert [saved.info.episode // 10 for saved in found] == [1, 2, 4]
        trusted = {"env": ENV, "env_args": config.env_args}
        ends.append(read_model(last.path, trusted).arrays)
        with pytest.raises(AssertionError):
            np.testing.assert_array_equal(found[0].arrays[0], found[2].arrays[0])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_picture_has_a_disc_in_each_taken_cell() -> None:
    env = make_env(Config(env=ENV), "rgb_array")
    env.reset()
    env.unwrapped._board = board("XO.....")  # type: ignore[attr-defined]
    picture: Any = env.render()
    centres = picture[20::40, 20::40]
    assert centres.shape == (6, 7, 3) and centres[5, :3].tolist() == [[230, 60, 50], [250, 200, 40], [255, 255, 255]]
    assert ConnectFour(render_mode="ansi").render() == "\n".join([". . . . . . ."] * 6)
