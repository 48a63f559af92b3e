"""Interleaved runs of several sides, and the rows of the table that they become."""
from table import Row
from wire.sides import installed


def compare(sides, scale, play):
    """{name: [what `play(side, seed)` measured, ...]}: each round plays all sides, in an order that turns."""
    sides = [side for side in sides if installed(side) and (side.name == "classgate" or not scale.only_ours)]
    values = {side.name: [] for side in sides}
    for number, seed in enumerate(scale.seeds()):
        for i in range(len(sides)):
            side = sides[(i + number) % len(sides)]
            values[side.name].append(play(side, seed))
    return values


def rows_of(title, measures, values, note=""):
    """`measures`: {key: (what it is, its unit, its goals)}; what a side or a run does not have is left out."""
    for number, (key, (name, unit, goals)) in enumerate(measures.items()):
        of_sides = {side: [of_run[key] for of_run in runs if of_run.get(key) is not None]
                    for side, runs in values.items()}
        of_sides = {side: of_runs for side, of_runs in of_sides.items() if of_runs}
        yield Row(f"{title}{name}", unit, of_sides, goals if "classgate" in of_sides else [],
                  note if number == 0 else "")
