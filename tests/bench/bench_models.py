"""How good and how fast Farfix's models are, beside others, in one command.

    make bench-models ARGS="--data DIR [--sections skab,speed] [--machines N] [--seeds N] [--quick]"

Without data only the sections that need none run. Progress goes to standard error, the report to
standard output and, as Markdown with charts, to a file.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file: the repository

from tests.bench import chart, labels, nab, report, rul, runs, skab, speed, tep
from tests.bench.report import Options, Section, say

OUT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"

ON_DATA: dict[str, tuple[str, str, Callable[[Options, Path], Section]]] = {
    "skab": ("skab/*/*.csv", skab.HOW, skab.section),
    "tep": ("tep/d??_te.dat", tep.HOW, tep.section),
    "nab": ("nab/labels/combined_windows.json", nab.HOW, nab.section),
    "rul": ("cmapss/train_*.txt", rul.HOW, rul.section),
    "labels": ("ai4i/*.csv", labels.HOW, labels.section),
}
"""Section: files it needs, how to get them, what runs it."""
WITHOUT_DATA: dict[str, Callable[[Options], Section]] = {
    "runs": runs.section,
    "speed": speed.section,
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everything = [*ON_DATA, *WITHOUT_DATA]
    parser.add_argument("--data", type=Path, help="folder with skab/, tep/, nab/, cmapss/, ai4i/")
    parser.add_argument("--sections", default=",".join(everything), help="default: %(default)s")
    parser.add_argument("--machines", type=int, default=24, help="simulated, for the long runs")
    parser.add_argument("--seeds", type=int, default=3, help="disguises, orders of failures")
    parser.add_argument(
        "--quick", action="store_true", help="one seed, 4 machines: a minute or two"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    args.sections = args.sections.split(",")
    unknown = set(args.sections) - set(everything)
    if unknown:
        parser.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(everything)}")
    if min(args.machines, args.seeds) < 1:
        parser.error("--machines and --seeds must be at least 1")
    return args


def main() -> None:
    """Run the sections asked for, print and write the report."""
    args = _options()
    options = Options(args.data, args.machines, args.seeds, args.quick)
    sections = []
    for name in args.sections:
        start = time.perf_counter()
        if name in WITHOUT_DATA:
            sections.append(WITHOUT_DATA[name](options))
        else:
            sections.append(_on_data(name, options))
        say(f"-- {name}: {time.perf_counter() - start:.0f} s")
    images = chart.draw(sections, args.out.parent / "images")
    charts = [str(path.relative_to(args.out.parent)) for path in images]
    text = report.markdown(sections, _command(), charts)
    print(text)  # noqa: T201  # what the program is for
    args.out.write_text(text)
    say(f"written: {args.out}")


def _on_data(name: str, options: Options) -> Section:
    files, how, run = ON_DATA[name]
    if options.data is not None and any(options.data.glob(files)):
        return run(options, options.data)
    missing = f"Not measured: put {how}, and call with `--data DIR`."
    say(f"{name}: {missing}")
    return Section(name.upper(), missing, [])


def _command() -> str:
    """Return the command as typed, but with the data anywhere: it is nobody's business where."""
    words = sys.argv[1:]
    for i, word in enumerate(words):
        if word == "--data":
            words[i + 1] = "DIR"
        elif word.startswith("--data="):
            words[i] = "--data=DIR"
    return "make bench-models" + (f' ARGS="{" ".join(words)}"' if words else "")


if __name__ == "__main__":
    main()
