"""Series of measurements, goals, and the table that both end up in."""
import dataclasses
import statistics


def interleaved(peers, rounds, measure, warms_up=True):
    """{name: [value, ...]}: each round measures each peer once, in an order that turns; one round
    more in front warms up. Whatever disturbs the machine for a while disturbs all of them."""
    values = {peer.name: [] for peer in peers}
    for number in range(-1 if warms_up else 0, rounds):
        for i in range(len(peers)):
            peer = peers[(i + number) % len(peers)]
            value = measure(peer)
            if number >= 0:
                values[peer.name].append(value)
    return values


@dataclasses.dataclass
class Goal:
    """The subject's figure is at most so many times a peer's, or, without a peer, at most this."""
    most: float
    peer: str | None = None
    is_least: bool = False  # the goal is a floor and not a ceiling


@dataclasses.dataclass
class Row:
    measure: str
    unit: str
    values: dict                     # {peer: [value of each round]}
    goals: list = dataclasses.field(default_factory=list)
    note: str = ""
    subject: str = "classgate"
    is_insisted_on: bool = False     # the same on any machine: the smoke test fails without it
    is_paired: bool = True           # values of one round belong together

    def median(self, name):
        return statistics.median(self.values[name])

    def spread(self, name):
        """The middle half of the values."""
        values = self.values[name]
        if len(values) < 2:
            return values[0], values[0]
        quartiles = statistics.quantiles(values, n=4, method="inclusive")
        return quartiles[0], quartiles[2]

    def ratio(self, peer):
        """The median of the ratios within each round: what slows a whole round down falls out."""
        if not self.is_paired:
            return self.median(self.subject) / self.median(peer)
        return statistics.median(mine / theirs for mine, theirs in
                                 zip(self.values[self.subject], self.values[peer]))

    def judged(self):
        """[(goal, figure, reached)]; a goal against a peer that is not there is left out."""
        result = []
        for goal in self.goals:
            if goal.peer and goal.peer not in self.values:
                continue
            figure = self.ratio(goal.peer) if goal.peer else self.median(self.subject)
            reached = figure >= goal.most if goal.is_least else figure <= goal.most
            result.append((goal, figure, reached))
        return result

    def as_json(self):
        return {"measure": self.measure, "unit": self.unit, "note": self.note, "values": self.values,
                "medians": {name: self.median(name) for name in self.values},
                "goals": [{"peer": goal.peer, "goal": goal.most, "figure": figure, "reached": reached}
                          for goal, figure, reached in self.judged()]}


def missed(rows):
    """What the smoke test insists on and does not see."""
    return [row.measure for row in rows if row.is_insisted_on and not all(reached for *_, reached in row.judged())]


def shown(value):
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def lines(row):
    """The table lines of one row: figures first, then a line for each goal."""
    figures = []
    for name in row.values:
        low, high = row.spread(name)
        spread = f" [{shown(low)} to {shown(high)}]" if low != high else ""
        figures.append(f"{name} {shown(row.median(name))}{spread}")
    yield f"| {row.measure} | {row.unit} | {'; '.join(figures)} | {verdicts(row)} |"
    if row.note:
        yield f"| | | {row.note} | |"


def verdicts(row):
    said = []
    for goal, figure, reached in row.judged():
        sign = "≥" if goal.is_least else "≤"
        against = f"{shown(figure)} × {goal.peer}" if goal.peer else shown(figure)
        said.append(f"{against} (goal {sign} {goal.most:g}): {'reached' if reached else 'NOT reached'}")
    return "; ".join(said)


HEAD = ("| measure | unit | median [middle half] | classgate: figure or ratio, goal |\n"
        "| --- | --- | --- | --- |")
