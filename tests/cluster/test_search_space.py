"""What a search may change, as it is typed."""

import pytest

from cluster.search_space import Choice, Range, check_search, parse_search
from console.errors import InputError


def test_ranges_and_choices() -> None:
    assert parse_search(
        ["learning_rate=1e-5:1e-2", "--target-every=50,1e2", "batch_size=32:256", "noisy=true,False"]
    ) == {
        "learning_rate": Range(1e-5, 1e-2),
        "target_every": Choice((50, 100)),
        "batch_size": Range(32, 256),
        "noisy": Choice((True, False)),
    }
    assert parse_search(["loss=mse,huber"]) == {"loss": Choice(("mse", "huber"))}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learningrate=1:2", "learningrate is no setting; did you mean learning_rate"),
        ("seed=1,2", "seed is not searched"),
        ("env=A,B", "env is not searched"),
        ("learning_rate", "there is nothing to try; write NAME=LOW:HIGH"),
        ("learning_rate=", "there is nothing to try"),
        ("learning_rate=2:1", "2.0 is not below 1.0"),
        ("learning_rate=1:2:3", "too many values"),
        ("batch_size=1.5,2", "write NAME=LOW:HIGH or NAME=A,B,C"),
        ("noisy=maybe", "'maybe' is neither true nor false"),
    ],
)
def test_what_cannot_be_searched(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^--search {text}: .*{message}"):
        parse_search([text])


def test_the_ends_must_suit_the_settings() -> None:
    space = parse_search(["discount=0.9:1", "loss=mse,huber"])
    check_search(space, {"env": "CartPole-v1"})
    with pytest.raises(InputError, match=r"--search discount: --discount must be at most 1, got 1\.1"):
        check_search(parse_search(["discount=0.9:1.1"]), {"env": "CartPole-v1"})
    with pytest.raises(InputError, match="--search loss: --loss must be one of huber, mse"):
        check_search(parse_search(["loss=huber,mae"]), {})


def test_domains() -> None:
    """A hundred draws lie where they should; whole numbers reach both ends."""
    tune = pytest.importorskip("ray.tune")
    drawn = [Range(1, 3).domain().sample() for _ in range(100)]
    assert set(drawn) == {1, 2, 3}
    assert {Range(0, 1).domain().sample() for _ in range(100)} == {0, 1}
    rates = [Range(1e-6, 1.0).domain().sample() for _ in range(100)]
    assert 20 < sum(rate < 1e-3 for rate in rates) < 80  # half of them: the middle of the exponents
    assert all(0 <= Range(0.0, 0.5).domain().sample() <= 0.5 for _ in range(100))
    assert isinstance(Choice((1, 2)).domain(), type(tune.choice([1])))
