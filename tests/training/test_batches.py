"""Which samples make up an update, whoever computes it and from wherever it resumes."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exemplar_model.training.data.batches import BatchPlan, StepBatches
from exemplar_model.training.section import ConfigError


def updates(plan, length=50, seed=23, start=0, stop=20):
    """Keys (epoch, index) of each update, over all processes and passes."""
    streams = [
        list(StepBatches(length, plan, seed=seed, process=process, start=start, stop=stop))
        for process in range(plan.processes)
    ]
    steps = plan.accumulation
    for stream in streams:
        assert len(stream) == (stop - start) * steps
        assert {len(micro) for micro in stream} == {plan.micro_batch}
    return [
        [key for stream in streams for micro in stream[first : first + steps] for key in micro]
        for first in range(0, (stop - start) * steps, steps)
    ]


@pytest.mark.parametrize(
    ("micro_batch", "processes", "accumulation"),
    [(16, 1, 1), (8, 2, 1), (4, 4, 1), (4, 1, 4), (1, 2, 8), (2, 4, 2), (1, 16, 1)],
)
def test_an_update_has_the_same_samples_however_they_are_shared(
    micro_batch, processes, accumulation
):
    plan = BatchPlan(16, micro_batch, processes)
    assert plan.accumulation == accumulation
    alone = [set(update) for update in updates(BatchPlan(16, 16, 1))]
    shared = updates(plan)
    assert [set(update) for update in shared] == alone
    assert {len(set(update)) for update in shared} == {16}


def test_an_epoch_is_a_permutation_and_each_its_own():
    keys = [key for update in updates(BatchPlan(10, 5, 2), length=50, stop=15) for key in update]
    orders = [[index for epoch, index in keys if epoch == number] for number in range(3)]
    assert sum(map(len, orders)) == len(keys)
    for order in orders:
        assert sorted(order) == list(range(50))
        assert order != sorted(order)
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_a_batch_may_span_epochs_and_leaves_nothing_out():
    counted = [Counter(update) for update in updates(BatchPlan(8, 4, 2), length=11, stop=11)]
    spanning = [update for update in counted if len({epoch for epoch, _ in update}) == 2]
    assert len(spanning) == 7  # 8 k = 11 n but at the start and the end: 11, 22, … 77
    total = sum(counted, Counter())
    assert total == Counter((epoch, index) for epoch in range(8) for index in range(11))


def test_a_batch_may_hold_several_epochs():
    (update,) = updates(BatchPlan(9, 9, 1), length=3, stop=1)
    assert Counter(update) == Counter((epoch, index) for epoch in range(3) for index in range(3))


@given(st.integers(0, 12), st.sampled_from([(12, 1), (2, 2), (1, 4), (3, 4)]))
def test_a_run_resumes_at_any_update(start, sharing):
    plan = BatchPlan(12, *sharing)
    for process in range(plan.processes):
        whole = list(StepBatches(17, plan, seed=1, process=process, start=0, stop=12))
        rest = list(StepBatches(17, plan, seed=1, process=process, start=start, stop=12))
        assert rest == whole[start * plan.accumulation :]


def test_a_run_may_resume_on_other_machines():
    before, after = BatchPlan(12, 3, 4), BatchPlan(12, 2, 2)
    alone = [set(update) for update in updates(BatchPlan(12, 12, 1), stop=9)]
    resumed = updates(before, stop=4) + updates(after, start=4, stop=9)
    assert [set(update) for update in resumed] == alone


def test_the_order_follows_from_the_seed():
    plan = BatchPlan(10, 10, 1)
    assert updates(plan, seed=1) == updates(plan, seed=1)
    assert updates(plan, seed=1) != updates(plan, seed=2)


def test_keys_are_plain_numbers():
    keys = np.array(updates(BatchPlan(4, 4, 1), stop=1)[0])
    assert keys.shape == (4, 2)
    (key, *_) = updates(BatchPlan(4, 4, 1), stop=1)[0]
    assert [type(part) for part in key] == [int, int]


@pytest.mark.parametrize(
    ("batch", "micro_batch", "processes", "multiple"), [(10, 4, 1, 4), (4, 4, 2, 8), (12, 2, 4, 8)]
)
def test_a_batch_that_cannot_be_shared_is_refused(batch, micro_batch, processes, multiple):
    with pytest.raises(ConfigError) as error:
        BatchPlan(batch, micro_batch, processes)
    assert str(error.value) == (
        f"batch is {batch}, which {processes} process(es) cannot divide into micro-batches of "
        f"{micro_batch}; choose a multiple of {multiple}, or another micro_batch."
    )
