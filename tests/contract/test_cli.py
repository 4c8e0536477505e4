"""The command line against a pipeline that only listens: flags, words, exit codes."""

from __future__ import annotations

import datetime as dt
import io
import json
import re
import subprocess
import sys
import types
import warnings
from pathlib import Path

import pytest

from daskseg import errors
from daskseg.cli import main
from daskseg.cli.talk import Lines, Talk, bars
from daskseg.config import TEMPLATES, Study

COMMANDS = ["demo", "rfm", "segment", "run", "init", "schema", "check", "plan", "assign", "inspect"]


def feature(name, *, role="active", money=False):
    return {
        "name": name,
        "label": name.replace("_", " "),
        "unit": "u",
        "role": role,
        "definition": f"what {name} is",
        "money": money,
        "decimals": 0,
        "higher_is_better": True,
        "missing": 0,
    }


def segment(number, name, **changes):
    medians = {"recency_days": 10.0 * number, "spend_net": 3120.5 / number}
    return {
        "segment_id": f"S{number}",
        "name": name,
        "name_kind": "rule",
        "customers": 30,
        "share": 0.3,
        "money": 700.0,
        "money_share": 0.7,
        "fit": 0.74,
        "features": [
            {"feature": key, "median": value, "effect": 0.9} for key, value in medians.items()
        ],
        **changes,
    }


RECORD = {
    "kind": "rfm",
    "title": "Customer segments of shop",
    "verdict": {"headline": "2 segments: 30 % of customers bring 70 % of spend."},
    "data": {
        "source": "ledger.csv",
        "rows": 1000,
        "customers": 100,
        "first_date": "2025-01-01",
        "last_date": "2025-12-31",
        "snapshot": "2026-01-01",
        "currency": "GBP",
        "value_feature": "spend_net",
    },
    "waterfall": [
        {
            "step": "raw",
            "label": "Ledger as read",
            "action": "total",
            "rows": 1000,
            "customers": 100,
            "money": 2e6,
        },
        {
            "step": "duplicates",
            "label": "Exact duplicates",
            "action": "kept",
            "rows": 0,
            "customers": 0,
            "money": 0.0,
        },
        {
            "step": "no_customer_id",
            "label": "No customer id (as found)",
            "action": "unattributed",
            "rows": 250,
            "customers": 0,
            "money": 3e5,
        },
    ],
    "segments": [
        segment(1, "Champions"),
        segment(2, "Lost\x1b[31m", share=0.7, money_share=0.3, fit=None),
    ],
    "features": [
        feature("recency_days"),
        feature("spend_net", money=True),
        feature("aov", role="passive"),
    ],
    "choice": {
        "k": 2,
        "mode": "auto",
        "runner_up": 3,
        "reasons": ["reason one", "reason two", "reason three", "reason four"],
        "curve": [{"k": k} for k in range(2, 6)],
    },
    "notices": ["16 customers have net spend of zero or less."],
    "run": {"run_id": "7f3c"},
}


class Pipeline(types.ModuleType):
    """Stands for daskseg.pipeline: notes what it was asked and gives RECORD."""

    def __init__(self):
        super().__init__("daskseg.pipeline")
        self.study: Study | None = None
        self.asked: dict[str, object] = {}
        self.error: BaseException | None = None

    def run_study(self, study, out, *, force=False, render, listener=None, today=None):
        self.study, self.asked = study, {"out": out, "force": force, "listener": listener}
        if self.error is not None:
            raise self.error
        if listener is not None:
            listener.stage_started("features", None)
            listener.stage_advanced("features", 1, 2)
            listener.stage_done("features", 1.23, 1, 4096)
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.html").write_bytes(b"x" * 2_300_000)
        (out / "segments.parquet").write_bytes(b"x" * 900)
        (out / "model").mkdir(exist_ok=True)
        (out / "model" / "manifest.json").write_bytes(b"x" * 9_100)
        errors.warn("three dates lie in the future")
        return RECORD

    def check_source(self, study, listener=None):
        self.study = study
        return {
            **RECORD["data"],
            "columns": {"customer_id": "Customer ID", "date": "Day"},
            "waterfall": RECORD["waterfall"],
            "notices": ["ids were read as numbers"],
            "money": 2e6,
        }

    def assign_source(self, model, source, out, *, snapshot, force=False, data, listener=None):
        self.asked = {
            "model": model,
            "source": source,
            "out": out,
            "snapshot": snapshot,
            "force": force,
            "data": data,
        }
        out.write_bytes(b"x" * 1500)
        segments = {"S1": {"name": "Champions", "customers": 30, "share": 0.3}}
        return {"rows": 100, "out": str(out), "segments": segments}


@pytest.fixture
def pipeline(monkeypatch, tmp_path):
    fake = Pipeline()
    monkeypatch.setitem(sys.modules, "daskseg.pipeline", fake)
    monkeypatch.chdir(tmp_path)
    return fake


def start(*argv: str) -> int:
    return main(list(argv))


# ── flags are a study ─────────────────────────────────────────────────────────

RFM = ("rfm", "in/shop.csv", "--out", "out")
SEGMENT = ("segment", "users.parquet", "--id", "user", "--out", "out")


def defaults(command: tuple[str, ...]) -> dict[str, dict[str, object]]:
    if command is RFM:
        data = {"source": "in/shop.csv"}
        return Study.from_dict({"data": data}).to_dict()
    data = {"source": "users.parquet", "kind": "segment", "id": "user"}
    return Study.from_dict({"data": data}).to_dict()


COMMON_FLAGS = [
    (("--encoding", "latin-1"), "data.encoding", "iso8859-1"),
    (("--delimiter", "tab"), "data.delimiter", "\t"),
    (("--format", "csv"), "data.format", "csv"),
    (("--partitions", "7"), "data.partitions", 7),
    (("--currency", "EUR"), "project.currency", "EUR"),
    (("--pca", "0.9"), "prepare.pca", 0.9),
    (("--pca", "3"), "prepare.pca", 3),
    (("--model", "minibatch"), "model.kind", "minibatch"),
    (("--k", "5"), "model.k", 5),
    (("--k", "auto"), "model.k", "auto"),
    (("--k-range", "3:8"), "model.k_range", [3, 8]),
    (("--min-share", "0.05"), "model.min_share", 0.05),
    (("--max-share", "0.4"), "model.max_share", 0.4),
    (("--min-customers", "250"), "model.min_customers", 250),
    (("--seed", "42"), "model.seed", 42),
    (("--title", "<Shop>"), "report.title", "<Shop>"),
    (("--map", "tsne"), "report.map", "tsne"),
]
RFM_FLAGS = [
    (("--snapshot", "2026-01-31"), "data.snapshot", "2026-01-31"),
    (("--window", "52w"), "data.window", "364d"),
    (("--returns", "match"), "data.returns", "match"),
    (("--duplicates", "drop"), "data.duplicates", "drop"),
    (("--non-products", "drop"), "data.non_products", "drop"),
    (
        ("--column", "customer_id=Client No", "--column", "date=a=b"),
        "data.columns",
        {"customer_id": "Client No", "date": "a=b"},
    ),
    (("--preset", "online_retail"), "data.preset", "online_retail"),
    (("--date-format", "%d/%m/%Y"), "data.date_format", "%d/%m/%Y"),
    (("--scheme", "other"), "label.scheme", "other"),
]
SEGMENT_FLAGS = [
    (("--value", "revenue"), "data.value", "revenue"),
    (("--passive", "a", "--passive", "b"), "data.passive", ["a", "b"]),
]


@pytest.mark.parametrize(
    ("command", "flags", "path", "value"),
    [(RFM, *case) for case in RFM_FLAGS + COMMON_FLAGS]
    + [(SEGMENT, *case) for case in SEGMENT_FLAGS + COMMON_FLAGS],
)
def test_flags__set_exactly_one_key_of_the_study(pipeline, command, flags, path, value):
    assert start(*command, *flags, "--quiet") == 0
    expected = defaults(command)
    section, key = path.split(".")
    expected[section][key] = value
    assert pipeline.study is not None
    assert pipeline.study.to_dict() == expected


@pytest.mark.parametrize("command", [RFM, SEGMENT])
def test_flags__none_means_the_defaults_of_the_study(pipeline, command):
    assert start(*command, "--quiet") == 0
    assert pipeline.study.to_dict() == defaults(command)
    assert pipeline.asked == {"out": Path("out"), "force": False, "listener": None}


def test_flags__every_option_of_rfm_and_segment_is_tested():
    for command, cases in ((RFM, RFM_FLAGS), (SEGMENT, SEGMENT_FLAGS)):
        answer = subprocess.run(
            [sys.executable, "-m", "daskseg", command[0], "-h"],
            capture_output=True,
            text=True,
            check=True,
        )
        options = set(re.findall(r"(?<!\w)--[a-z-]+", answer.stdout.split("Options:")[1]))
        tested = {word for case in cases + COMMON_FLAGS for word in case[0] if word[:2] == "--"}
        behaviour = {"--force", "--json", "--quiet", "--verbose", "--debug", "--help"}
        assert options == tested | behaviour | ({"--out", "--id"} & options)


def test_force__reaches_the_pipeline(pipeline):
    assert start(*RFM, "--force", "--quiet") == 0
    assert pipeline.asked["force"] is True


def test_rfm__takes_several_files_as_a_shell_gives_them(pipeline):
    assert start("rfm", "a/x.csv", "a/y.csv", "--out", "out", "--quiet") == 0
    assert pipeline.study.data.source == ["a/x.csv", "a/y.csv"]


def test_flags__limits_out_of_reach_are_named_as_typed(pipeline, capsys):
    assert start(*RFM, "--k-range", "4:8", "--min-share", "0.3", "--max-share", "0.1") == 2
    told = capsys.readouterr().err
    assert "--min-share: 0.3 must be at most 0.25: of 4 segments" in told
    assert "--max-share: 0.1 must be at least 0.125: of 8 segments" in told
    assert pipeline.study is None


# ── run ───────────────────────────────────────────────────────────────────────


def test_run__gives_the_study_of_the_file(pipeline, tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("data: {source: a.csv, window: 30d}\nmodel: {seed: 3}\nlabel:\n")
    assert start("run", str(file), "--out", "out", "--quiet") == 0
    assert pipeline.study == Study.from_yaml(file)


def test_run__lets_options_win_over_the_file(pipeline, tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text("data: {source: a.csv, snapshot: 2026-01-01}\nmodel: {seed: 3, k: 4}\n")
    flags = ("--snapshot", "2026-02-01", "--seed", "9", "--k", "auto", "--k-range", "2:5")
    limits = ("--min-share", "0.02", "--max-share", "0.7", "--min-customers", "3")
    more = ("--partitions", "2", *limits)
    assert start("run", str(file), "--out", "out", *flags, *more, "--quiet") == 0
    expected = Study.from_yaml(file).to_dict()
    expected["data"].update(snapshot="2026-02-01", partitions=2)
    expected["model"].update(seed=9, k="auto", k_range=[2, 5])
    expected["model"].update(min_share=0.02, max_share=0.7, min_customers=3)
    assert pipeline.study.to_dict() == expected


@pytest.mark.parametrize("content", ["- a\n", "data: text\n", "model: 3\ndata: {source: a}\n"])
def test_run__with_options_still_explains_a_broken_file(pipeline, tmp_path, content, capsys):
    file = tmp_path / "s.yaml"
    file.write_text(content)
    options = ("--seed", "3", "--snapshot", "2026-01-01")
    assert start("run", str(file), "--out", "out", *options) == 2
    assert f"error: {file}: " in capsys.readouterr().err


# ── the screen ────────────────────────────────────────────────────────────────


def test_screen__tells_the_result_on_stderr_and_leaves_stdout_empty(pipeline, capsys):
    assert start(*RFM) == 0
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "stage=features status=done wall_s=1.2 passes=1 bytes_read=4096"
    assert lines[1] == "warning: three dates lie in the future"
    assert lines[2] == (
        " check      1,000 lines   100 customers   £2 million in all   "
        "1 January 2025 to 31 December 2025"
    )
    assert lines[3] == ("   - No customer id     25 % of lines      15 % of money   unattributed")
    assert lines[4] == " k          2..5 → 2   (runner-up 3)"
    assert lines[5:8] == ["   - reason one", "   - reason two", "   - reason three"]
    assert lines[8] == " segments   2 segments: 30 % of customers bring 70 % of spend."
    assert re.split(r"  +", lines[9].strip()) == [
        "segment",
        "of customers",
        "of spend",
        "label fit",
        "medians",
    ]
    first, second = (re.split(r"  +", line.strip()) for line in lines[10:12])
    assert first == ["S1 Champions", "30 %", "70 %", "74 %", "10 u · spend net £3,120"]
    assert second == ["S2 Lost?[31m", "70 %", "30 %", "–", "20 u · spend net £1,560"]
    assert lines[10].index("10 u") == lines[11].index("20 u") == lines[9].index("medians")
    assert lines[12:14] == [
        " notices",
        "   - 16 customers have net spend of zero or less.",
    ]
    assert lines[14] == (
        " wrote out: report.html (2.3 MB), segments.parquet (100 rows, 900 B), model/ (9.1 kB)"
    )
    assert re.fullmatch(r" total [\d.]+ s", lines[15])
    assert lines[16:] == [" next: open out/report.html"]


def test_screen__verbose_gives_all_reasons_and_starts_of_stages(pipeline, capsys):
    assert start(*RFM, "-v") == 0
    err = capsys.readouterr().err
    assert err.startswith("stage=features status=started\nstage=features status=done")
    assert "   - reason four\n" in err


def test_screen__quiet_says_nothing(pipeline, capsys):
    assert start(*RFM, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_screen__leaves_out_what_a_table_without_values_lacks(pipeline, capsys, monkeypatch):
    lean = [segment(1, "Large", money=None, money_share=None, fit=None)]
    data = {**RECORD["data"], "first_date": None, "last_date": None, "currency": None}
    choice = {**RECORD["choice"], "mode": "fixed", "k": 1}
    record = {"kind": "segment", "segments": lean, "waterfall": [], "data": data, "notices": []}
    monkeypatch.setitem(RECORD, "choice", choice)
    for key, value in record.items():
        monkeypatch.setitem(RECORD, key, value)
    assert start(*SEGMENT) == 0
    lines = capsys.readouterr().err.splitlines()[2:]
    assert lines[0] == " check      1,000 rows   100 customers"
    assert lines[1] == " k          1, as asked for"
    assert re.split(r"  +", lines[6].strip()) == [
        "segment",
        "of customers",
        "medians",
    ]


def test_screen__gives_amounts_where_returns_outweigh_the_money_of_a_segment(
    pipeline, capsys, monkeypatch
):
    segments = [
        segment(1, "Large", money=900.0, money_share=None),
        segment(2, "Small", money=-20.0, money_share=None),
    ]
    monkeypatch.setitem(RECORD, "segments", segments)
    assert start(*RFM) == 0
    lines = capsys.readouterr().err.splitlines()
    head = next(line for line in lines if "of customers" in line and "fit" in line)
    assert re.split(r"  +", head.strip())[1:3] == ["of customers", "spend"]
    assert "−£20" in next(line for line in lines if "S2 Small" in line)


def test_json__is_one_line_on_stdout(pipeline, capsys):
    assert start(*RFM, "--json") == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert "stage=features" in err
    record = json.loads(out)
    assert record.pop("seconds") >= 0
    keys = ("segment_id", "name", "customers", "share", "money", "money_share", "fit")
    assert record == {
        "command": "rfm",
        "kind": "rfm",
        "title": "Customer segments of shop",
        "headline": "2 segments: 30 % of customers bring 70 % of spend.",
        "rows": 1000,
        "customers": 100,
        "snapshot": "2026-01-01",
        "k": 2,
        "segments": [{key: one[key] for key in keys} for one in RECORD["segments"]],
        "notices": RECORD["notices"],
        "run_id": "7f3c",
        "out": "out",
        "files": {"report.html": 2_300_000, "segments.parquet": 900, "model/": 9_100},
    }


def test_json__with_quiet_is_all_there_is(pipeline, capsys):
    assert start(*RFM, "--json", "--quiet") == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert err == ""


# ── progress and warnings ─────────────────────────────────────────────────────


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("no_color", [False, True])
def test_progress__is_one_bar_per_stage_on_a_terminal(monkeypatch, no_color):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    with Talk().progress() as listener:
        assert listener is not None
        listener.stage_started("features", None)
        listener.stage_advanced("features", 1, 2)
        listener.stage_advanced("never started", 1, 2)
        listener.stage_done("features", 1.0, 1, 10)
    drawn = terminal.getvalue()
    assert "features" in drawn
    assert "100 %" in drawn
    colours = re.search(r"\x1b\[(\d+;)*(3|9)\d(;\d+)*m", drawn)
    assert (colours is None) == no_color


def _fail_in_a_stage() -> None:
    with bars() as listener:
        listener.stage_started("features", 3)
        raise errors.InputError("no rows")


def test_progress__bars_survive_an_error(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(errors.InputError, match="no rows"):
        _fail_in_a_stage()


def test_progress__is_lines_elsewhere():
    with Talk().progress() as listener:
        assert isinstance(listener, Lines)
    with Talk(quiet=True).progress() as listener:
        assert listener is None


def foreign_warning() -> None:
    warnings.warn_explicit("slow path", RuntimeWarning, "lib.py", 7)


@pytest.mark.filterwarnings("default")
def test_warnings__of_other_libraries_are_shown_on_demand(capsys):
    for talk in (Talk(), Talk(verbose=True), Talk(debug=True)):
        with talk.progress():
            foreign_warning()
    words = "warning: RuntimeWarning: slow path (lib.py:7)\n"
    assert capsys.readouterr().err == words * 2


def test_warnings__are_back_to_normal_afterwards():
    before = warnings.showwarning
    with Talk().progress():
        assert warnings.showwarning is not before
    assert warnings.showwarning is before


# ── errors and exit codes ─────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("bad"), 2),
        (errors.InputError("bad"), 4),
        (errors.SchemaMismatchError("bad"), 6),
        (errors.ArtifactError("bad"), 6),
        (errors.MemoryBudgetError("bad"), 5),
        (errors.ClusterError("bad"), 5),
    ],
)
def test_errors__have_a_message_a_code_and_no_traceback(pipeline, capsys, error, code):
    pipeline.error = error
    assert start(*RFM) == code
    assert capsys.readouterr() == ("", "error: bad\n")
    assert start(*RFM, "--json", "--quiet") == code
    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "error": type(error).__name__,
        "message": "bad",
        "exit_code": code,
    }
    assert out.count("\n") == 1
    assert err == "error: bad\n"


def test_errors__unexpected_ones_are_one_line_with_advice(pipeline, capsys):
    pipeline.error = KeyError("two\nlines")
    assert start(*RFM) == 1
    out, err = capsys.readouterr()
    assert err == (
        "error: unexpected KeyError: 'two\\nlines' (run again with --debug for the traceback)\n"
    )
    assert out == ""


def test_errors__debug_shows_the_traceback(pipeline, capsys):
    pipeline.error = errors.InputError("bad")
    assert start(*RFM, "--debug") == 4
    err = capsys.readouterr().err
    assert err.startswith("Traceback (most recent call last):")
    assert "in run_study" in err
    assert err.endswith("error: bad\n")


def test_errors__ctrl_c_is_130(pipeline, capsys):
    pipeline.error = KeyboardInterrupt()
    assert start(*RFM, "--json") == 130
    out, err = capsys.readouterr()
    assert "error: interrupted" in err
    assert json.loads(out)["exit_code"] == 130


def test_errors__a_machine_out_of_memory_is_5(pipeline, capsys):
    pipeline.error = MemoryError()
    assert start(*RFM) == 5
    assert "ran out of memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("rmf",), "error: No such command 'rmf'. Did you mean 'rfm'?\nTry 'daskseg -h' for help."),
        (
            (*RFM, "--snapshoot", "x"),
            "error: No such option: --snapshoot. Did you mean --snapshot?\nTry 'daskseg rfm -h'",
        ),
        (("rfm", "--out", "x"), "error: Missing argument 'LEDGER'."),
        (("rfm", "x"), "error: Missing option '--out'."),
        (("segment", "x", "--out", "y"), "error: Missing option '--id'."),
        ((*RFM, "--seed", "x"), "error: Invalid value for '--seed': "),
        ((*RFM, "--seed", "-1"), "error: --seed: -1 is too small; the least is 0."),
        ((*RFM, "--k", "0"), "error: --k: 0 must be auto or a whole number from 1 to 20."),
        ((*RFM, "--k", "٣"), "error: --k: '٣' must be auto or a whole number"),
        ((*RFM, "--k-range", "2-4"), "error: --k-range: '2-4' must be two whole numbers"),
        ((*RFM, "--k", "3", "--k-range", "2:4"), "error: --k 3 leaves nothing to choose from"),
        ((*RFM, "--k-range", "4:2"), "error: --k-range: [4, 2] must be two whole numbers"),
        ((*RFM, "--window", "1y"), "error: --window: '1y' must be a number of days or weeks"),
        ((*RFM, "--returns", "nett"), "error: --returns: 'nett' is not known. Did you mean 'net'?"),
        ((*RFM, "--column", "date"), "error: --column 'date' is not ROLE=HEADER; write for"),
        (
            (*RFM, "--column", "date=a", "--column", "date=b"),
            "error: --column names the role 'date' twice: 'a' and 'b'.",
        ),
        (
            (*RFM, "--column", "dat=a"),
            "error: data.columns.dat: 'dat' is not known. Did you mean 'date'?",
        ),
        ((*RFM, "--id", "x"), "error: No such option: --id"),
        (("demo", "retial", "--out", "x"), "error: No such command 'retial'. Did you mean 'reta"),
        (("demo", "retail", "--out", "x", "--rows", "1.5"), "error: --rows '1.5' is not a whole"),
        (("demo", "retail", "--out", "x", "--rows", "inf"), "error: --rows 'inf' is not a whole"),
        (("demo", "retail", "--out", "x", "--rows", "-3"), "error: --rows '-3' is not a whole"),
        (("init", "--template", "rmf"), "error: there is no template 'rmf'. Did you mean 'rfm'?"),
        (("init", "no/such/folder/s.yaml"), "s.yaml cannot be written: No such file or directory."),
        (("run", "none.yaml", "--out", "x"), "error: none.yaml: the study file cannot be read"),
        (
            ("assign", "m", "d.csv", "--out", "o", "--snapshot", "soon"),
            "error: --snapshot: 'soon' must be a day like 2026-01-31.",
        ),
        (
            ("assign", "m", "d.csv", "--out", "o", "--delimiter", ";;"),
            "error: --delimiter: ';;' must be one character",
        ),
    ],
)
def test_errors__wrong_usage_is_2(pipeline, capsys, argv, words):
    assert start(*argv) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert out == ""
    assert start(*argv, "--json") == 2
    assert json.loads(capsys.readouterr().out)["error"] == "UsageError"


def test_errors__alone_the_command_shows_its_help(capsys):
    assert start() == 2
    assert capsys.readouterr().err.startswith("Examples:\n  $ daskseg demo retail")
    assert start("demo") == 2
    assert capsys.readouterr().err.startswith("Example:\n  $ daskseg demo retail")


# ── help and start-up ─────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS), ["demo", "retail"]])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help__begins_with_an_example_of_this_command(command, flag, capsys):
    assert main([*command, flag]) == 0
    first, second = capsys.readouterr().out.splitlines()[:2]
    assert first in ("Example:", "Examples:")
    assert second.startswith(" ".join(["  $ daskseg", *command]))


def test_help__lists_the_commands_that_work(capsys):
    assert main(["-h"]) == 0
    listed = capsys.readouterr().out.split("Commands:")[1]
    assert re.findall(r"^  (\w+)", listed, re.MULTILINE) == COMMANDS


@pytest.mark.parametrize("argv", [["-h"], ["rfm", "-h"], ["--version"], ["rmf"]])
def test_startup__loads_nothing_heavy(argv):
    # pydantic is not in this list: recent typer releases load it themselves.
    heavy = ("numpy", "pandas", "dask", "bokeh", "rich", "yaml", "zarr", "numba")
    code = (
        f"import sys; from daskseg.cli import main; main({argv!r}); "
        f"sys.exit(','.join(sorted(set({heavy!r}) & set(sys.modules))) or 0)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert (answer.returncode, answer.stderr) == (0, answer.stderr if argv == ["rmf"] else "")


def test_version__is_printed(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"daskseg \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


def test_module__runs_like_the_command():
    answer = subprocess.run(
        [sys.executable, "-m", "daskseg", "run", "none.yaml", "--out", "x"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: none.yaml: the study file cannot be read")


def test_pipe__that_closes_early_is_no_traceback():
    answer = subprocess.run(
        f"{sys.executable} -m daskseg schema | head -c 1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout == "{"
    assert answer.stderr == ""


# ── init, schema, check, assign, inspect, demo ────────────────────────────────


@pytest.mark.parametrize("template", TEMPLATES)
def test_init__writes_a_study_that_loads(template, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert start("init", "--template", template) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == ("wrote study.yaml\nnext: fill in data.source, then: daskseg check study.yaml\n")
    assert Study.from_yaml("study.yaml").model.k == "auto"
    assert start("init") == 2
    assert "study.yaml exists already" in capsys.readouterr().err
    assert start("init", "--force", "--json", "--quiet") == 0
    assert json.loads(capsys.readouterr().out) == {"template": "rfm", "path": "study.yaml"}


def test_init__writes_to_stdout(capsys):
    assert start("init", "-") == 0
    out, err = capsys.readouterr()
    assert out.startswith("# A study of a ledger")
    assert err == ""


def test_schema__is_the_schema_of_the_study(capsys):
    assert start("schema") == 0
    assert json.loads(capsys.readouterr().out) == Study.schema()
    assert start("schema", "--json") == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == Study.schema()


def test_check__shows_columns_and_the_cost_of_cleaning(pipeline, capsys):
    assert start("check", "in/shop.csv", "--window", "30d") == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[1] == " columns    customer_id ← Customer ID, date ← Day"
    assert lines[2].startswith("   - No customer id ")
    assert lines[-1] == "   - ids were read as numbers"
    assert pipeline.study.to_dict()["data"]["window"] == "30d"
    assert pipeline.study.data.kind == "rfm"


def test_check__reads_a_table_if_told_its_id(pipeline, capsys):
    flags = ("--id", "user", "--value", "v", "--passive", "p", "--json")
    assert start("check", "users.csv", *flags) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 1000
    data = pipeline.study.data
    assert (data.kind, data.id, data.value, data.passive) == ("segment", "user", "v", ["p"])


def test_check__reads_a_study_file(pipeline, tmp_path):
    (tmp_path / "s.YML").write_text("data: {source: a.csv, returns: drop}\n")
    assert start("check", "s.YML", "--returns", "keep") == 0
    assert (pipeline.study.data.source, pipeline.study.data.returns) == ("a.csv", "keep")


def test_assign__hands_over_what_was_asked(pipeline, tmp_path, capsys):
    flags = ("--snapshot", "2026-02-01", "--column", "date=Day", "--delimiter", "tab", "--force")
    assert start("assign", "study", "l.csv", "--out", "a.parquet", *flags) == 0
    assert pipeline.asked == {
        "model": Path("study"),
        "source": "l.csv",
        "out": Path("a.parquet"),
        "snapshot": dt.date(2026, 2, 1),
        "force": True,
        "data": {"columns": {"date": "Day"}, "delimiter": "\t"},
    }
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == " assigned   100 customers"
    assert lines[2].split() == ["S1", "Champions", "30", "30", "%"]
    assert lines[3] == " wrote a.parquet (1.5 kB)"


def test_assign__without_options_changes_nothing(pipeline, capsys):
    assert start("assign", "m", "a.csv", "b.csv", "--out", "a.parquet", "--json") == 0
    assert pipeline.asked["data"] == {}
    assert pipeline.asked["snapshot"] is None
    assert pipeline.asked["source"] == ["a.csv", "b.csv"]
    record = json.loads(capsys.readouterr().out)
    assert record["segments"]["S1"] == {"name": "Champions", "customers": 30, "share": 0.3}
    assert record["out"] == "a.parquet"


DESCRIPTION = {
    "kind": "rfm",
    "snapshot": "2026-01-01",
    "seed": 0,
    "versions": {"daskseg": "0.1.0"},
    "features": [
        {**feature("recency_days"), "prepare": {"low": 1.0, "high": 372.0}},
        {**feature("aov", role="passive"), "prepare": None},
    ],
    "segments": [{"segment_id": "S1", "name": "Champions", "centre": {"recency_days": 10.25}}],
    "definitions": {"returns": "net", "window": None},
    "scheme": "rfm11",
    "cut_points": {"recency_days": [13, 32.5]},
}


def test_inspect__shows_the_model(monkeypatch, tmp_path, capsys):
    fake = types.ModuleType("daskseg.segments.model")
    fake.describe_model = lambda path: DESCRIPTION  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "daskseg.segments.model", fake)
    assert start("inspect", str(tmp_path)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0] == str(tmp_path)
    assert lines[1].split() == ["kind", "rfm"]
    assert "recency_days  u     active   1 to 372    what recency_days is" in lines
    assert "S1 Champions                  10.2" in lines
    assert "  window: none" in lines
    assert "  recency_days: 13, 32.5" in lines
    assert "  daskseg: 0.1.0" in lines
    assert start("inspect", str(tmp_path), "--json") == 0
    assert json.loads(capsys.readouterr().out) == DESCRIPTION


def test_demo__makes_data_then_a_study(pipeline, tmp_path, capsys):
    command = ("demo", "retail", "--out", "d", "--rows", "2e3", "--seed", "5")
    assert start(*command, "--json") == 0
    out, err = capsys.readouterr()
    assert err.startswith(" made up    2,000 ledger lines: d/data/ledger.parquet\n")
    record = json.loads(out)
    assert (record["command"], record["out"]) == ("demo retail", "d/study")
    assert record["ledger"] == "d/data/ledger.parquet"
    assert Path(record["truth"]).is_file()
    assert pipeline.study.data.source == "d/data/ledger.parquet"
    assert pipeline.study.model.seed == 5
    assert pipeline.study.project.name == "demo retail"
    assert start(*command, "--quiet") == 0  # its own directory may be used again


def test_demo__refuses_a_directory_of_others(pipeline, tmp_path, capsys):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "thesis.txt").write_text("x")
    command = ("demo", "retail", "--rows", "2000", "--quiet", "--out")
    assert start(*command, "d") == 2
    assert "holds no earlier demo (no data/truth.parquet)" in capsys.readouterr().err
    assert start(*command, "d/thesis.txt", "--force") == 2
    assert "a file stands there" in capsys.readouterr().err
    assert start(*command, "d", "--force") == 0
    assert (tmp_path / "d" / "thesis.txt").is_file()
