#!/usr/bin/env python3
"""Reads tests/reports.tsv, what went wrong elsewhere and here, and fails when a row has no test that ctest runs."""
import ast
import importlib
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS = ("case", "what went wrong", "what is right", "file", "test")
ROWS_MIN = 60
LITERAL = r'"(?:[^"\\]|\\.)*"'
TITLE = re.compile(rf"\b(?:TEST_CASE|SUBCASE)\(\s*((?:{LITERAL}\s*)+)\)")
FOREACH = re.compile(r"foreach\((\w+) ([^)]*)\)(.*?)endforeach\(\)", re.S)


def read_rows(text):
    """The rows as tuples, and what is wrong with their form."""
    rows, wrong = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        cells = tuple(cell.strip() for cell in line.split("\t"))
        if len(cells) != len(COLUMNS) or not all(cells):
            wrong.append(f"row {number}: {len(COLUMNS)} columns are wanted: {', '.join(COLUMNS)}")
        else:
            rows.append((number, *cells))
    seen = {}
    for number, case, _, _, file, test in rows:
        if (case, file, test) in seen:
            wrong.append(f"row {number}: row {seen[case, file, test]} is the same")
        seen.setdefault((case, file, test), number)
    return rows, wrong


def titles_of(path):
    """What the tests of a file are called."""
    if path.suffix == ".cpp":
        return {"".join(ast.literal_eval(part) for part in re.findall(LITERAL, found.group(1)))
                for found in TITLE.finditer(path.read_text())}
    if path.parent.name == "conformance":
        sys.path.insert(0, str(path.parent))
        return {row.name for row in importlib.import_module(path.stem).ROWS}
    return {f"{one.name}.{test.name}" for one in ast.parse(path.read_text()).body if isinstance(one, ast.ClassDef)
            for test in one.body if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")}


def is_run(path, lists):
    """Whether the CMakeLists.txt of its folder gives the file to a test."""
    for name, values, body in FOREACH.findall(lists):
        lists += "".join(body.replace("${" + name + "}", value) for value in values.split())
    if path.suffix == ".py":
        name = "conformance_test.py" if path.parent.name == "conformance" else path.name
        return re.search(rf"add_test\([^)]*/{re.escape(name)}[\s)]", lists) is not None
    programs = [program for program, sources in re.findall(r"(?:add_executable|target_sources)\((\w+)([^)]*)\)", lists)
                if re.search(rf"(?<![\w/]){re.escape(path.name)}\b", sources)]
    return any(re.search(rf"COMMAND {program}\b", lists) for program in programs)


def check_row(number, file, test):
    path = ROOT / file
    if not path.is_file():
        return [f"row {number}: {file} is not there"]
    wrong = [] if test in titles_of(path) else [f"row {number}: {file} has no test {test!r}"]
    if not is_run(path, (path.parent / "CMakeLists.txt").read_text()):
        wrong.append(f"row {number}: ctest does not run {file}")
    return wrong


def main():
    # The test can fail: what is planted here must be found.
    assert read_rows("a\tb\tc\td")[1], "a short row"
    assert read_rows("a\tb\tc\td\te\n" * 2)[1], "a row that stands twice"
    assert check_row(0, "tests/process/no_test.py", "X.test_y") and check_row(0, "tests/process/end_test.py", "End.test_no")
    assert check_row(0, "tests/gateway/reload_test.cpp", "a title") and check_row(0, "tests/conformance/lines.py", "a row")
    assert not is_run(ROOT / "tests/gateway/reload_test.cpp", "add_executable(a\n  storm_reload_test.cpp)\nadd_test(NAME a COMMAND a)")
    rows, wrong = read_rows((ROOT / "tests/reports.tsv").read_text())
    for number, _, _, _, file, test in rows:
        wrong += check_row(number, file, test)
    if len(rows) < ROWS_MIN:
        wrong.append(f"{len(rows)} rows; {ROWS_MIN} are wanted")
    reports = len({case for _, case, *_ in rows if not case.startswith(("issue ", "field:"))})
    print("\n".join(wrong) if wrong else f"{len(rows)} rows, {reports} public reports, each with a test that ctest runs")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
