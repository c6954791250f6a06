"""What a run's figures mean: rules as data, and beside each the judge that knows when it holds.

A rule has what is seen, what it means, what to expect and what to do next; its words are templates.
`analyze(log)` asks every topic in turn: the log itself, loss, CER, attention, checkpoints, speed,
and last what to do. The monitor of a run that trains (khmer_fast.train.health) asks some of them.
"""
