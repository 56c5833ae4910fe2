"""The web page of a run, in one file that needs nothing else."""

from __future__ import annotations

import base64
import dataclasses
import html
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plotly.colors import qualitative
from plotly.graph_objects import Scatter
from plotly.subplots import make_subplots

from config import Config
from console.messages import one_line
from reports.board import learned_as_html
from reports.curves import RunLog, read_images
from reports.findings import find_problems, verdict
from reports.templates import fill_template
from training.tags import (
    CHARTS,
    GREEDY_AVG,
    GREEDY_OPTIMUM,
    REWARD_AVG,
    SEE_POLICY,
    SEE_START,
    SEE_UNTRAINED,
    SEE_WORST,
    Chart,
)

COLOURS = qualitative.Plotly
PHONE = 46  # characters of a chart's title in a line
PICTURES = {
    SEE_POLICY: "The greedy move on every cell, beside the optimal one, after {:,} episodes.",
    SEE_UNTRAINED: "The untrained agent, from a fixed start.",
    SEE_START: "Greedy play from the same start, after {:,} episodes.",
    SEE_WORST: "Greedy play from the start with the lowest return, after {:,} episodes.",
}


def make_page(log: RunLog, model: Path | None, trusted: Mapping[str, Any] | None = None) -> str:
    """Return the page of a run as HTML.

    Args:
        log: the run, of at least one window.
        model: its best model, if it is there.
        trusted: as `model_file.read_model` takes it.

    Raises:
        InputError: as `board.learned_as_html`.
    """
    summary, board = learned_as_html(log.config, model, trusted or {})
    return fill_template(
        "page.html",
        title=html.escape(_title(log)),
        subtitle=html.escape(_subtitle(log)),
        summary=summary,
        findings=findings_as_html(log),
        learned=board,
        curves=curves_as_html(log),
        pictures=pictures_as_html(log.folder, has_board=bool(board)),
        facts=facts_as_html(log),
        settings=settings_as_html(log.config),
    )


def _title(log: RunLog) -> str:
    return f"{log.config.env}, seed {log.config.seed}"


def _subtitle(log: RunLog) -> str:
    text = f"{int(log.episodes[REWARD_AVG][-1]):,} episodes"
    if log.seconds:
        text += f" in {duration(log.seconds)}"
    if started := str(log.start.get("time", "")):
        text += f", started on {started[:10]} at {started[11:16]}"
    if GREEDY_AVG not in log.curves:
        return text
    earned, starts = log.curves[GREEDY_AVG][-1], log.config.evaluate_episodes
    possible = f" of {log.curves[GREEDY_OPTIMUM][-1]:.2f} possible" if GREEDY_OPTIMUM in log.curves else ""
    return f"{text}; the last greedy evaluation earned {earned:.2f}{possible} on average, from {starts:,} fixed starts"


def duration(seconds: float) -> str:
    """Write a time as people say it: "45 s", "5 min 53 s", "2 h 5 min"."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def findings_as_html(log: RunLog) -> str:
    """List what looks wrong with a run, or how well it went if nothing does."""
    findings = find_problems(log) or [verdict(log)]
    return f"<ul>{''.join(f'<li>{html.escape(text)}</li>' for text in findings)}</ul>"


def facts_as_html(log: RunLog) -> str:
    """Tabulate the facts of a run: its name, when, for how long, by which command, on what."""
    versions = dict(log.start.get("versions", {}))
    machine = versions.pop("platform", "unknown")
    facts = {
        "name": log.folder.name,
        "started": str(log.start.get("time", "unknown")).replace("T", " "),
        "took": duration(log.seconds) if log.seconds else "it has not ended",
        "command": str(log.start.get("command", "unknown")),
        "machine": machine,
        "versions": ", ".join(f"{package} {version}" for package, version in versions.items()) or "unknown",
    }
    rows = (f"<tr><td>{name}</td><td>{html.escape(one_line(fact))}</td></tr>" for name, fact in facts.items())
    return "".join(rows)


def curves_as_html(log: RunLog) -> str:
    """Draw the charts, one below the other, with plotly's script in the text."""
    charts = [chart for chart in CHARTS if not set(chart.tags).isdisjoint(log.curves)]
    titles = ["<br>".join(textwrap.wrap(chart.title, PHONE)) for chart in charts]
    figure = make_subplots(len(charts), 1, shared_xaxes=True, subplot_titles=titles, vertical_spacing=0.03)
    for row, chart in enumerate(charts, 1):
        for trace in _lines(log, chart):
            figure.add_trace(trace.update(legend=f"legend{row}"), row, 1)
        top = figure.layout[f"yaxis{row}"].domain[1]
        inside = {"x": 1, "xanchor": "right", "y": top, "yanchor": "top", "bgcolor": "rgba(255, 255, 255, 0.7)"}
        figure.update_layout({f"legend{row}": inside})
    figure.update_annotations(x=0, xanchor="left", align="left", font_size=13)
    figure.update_layout(height=230 * len(charts), hovermode="x unified", margin={"t": 70, "b": 40, "r": 10})
    figure.update_xaxes(title_text="episodes", row=len(charts), col=1)
    return str(figure.to_html(full_html=False, include_plotlyjs=True, config={"displaylogo": False}))


def _lines(log: RunLog, chart: Chart) -> list[Scatter]:
    tags = [tag for tag in chart.tags if tag in log.curves]
    style = {"showlegend": len(tags) > 1}
    return [_line(log, tag, line={"width": 2, "color": COLOURS[i]}, **style) for i, tag in enumerate(tags)]


def _line(log: RunLog, tag: str, **style: Any) -> Scatter:
    return Scatter(x=log.episodes[tag], y=log.curves[tag], name=tag, **style)


def pictures_as_html(folder: Path, has_board: bool) -> str:
    """Show the first and the last picture of each kind; policies only where no board shows them better."""
    shown: dict[str, list[tuple[int, bytes]]] = {}
    for tag, step, image in read_images(folder):
        if tag in PICTURES and not (has_board and tag == SEE_POLICY):
            shown.setdefault(tag, []).append((step, image))
    figures = [
        _figure(PICTURES[tag].format(step), image)
        for tag, images in shown.items()
        for step, image in dict([images[0], images[-1]]).items()
    ]
    return f"<h2>How it played, first and last</h2>{''.join(figures)}" if figures else ""


def _figure(text: str, image: bytes) -> str:
    source, text = f"data:image;base64,{base64.b64encode(image).decode()}", html.escape(text)
    return f'<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>'


def settings_as_html(config: Config) -> str:
    """List the settings: first those that differ from the preset, then all."""
    own = dataclasses.asdict(config)
    apart = config.differences()
    differ = (
        f"<p>In these it differs from the preset {html.escape(config.preset)}:</p>{_list(apart)}"
        if apart
        else f"<p>They are those of the preset {html.escape(config.preset)}.</p>"
    )
    return f"{differ}<details><summary>All settings</summary>{_list(own)}</details>"


def _list(settings: Mapping[str, Any]) -> str:
    rows = (f"<div><b>{name}</b><span>{html.escape(str(value))}</span></div>" for name, value in settings.items())
    return f'<div class="settings">{"".join(rows)}</div>'
