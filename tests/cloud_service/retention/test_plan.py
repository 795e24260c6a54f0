"""What goes, in which order and why, as far as it is a question of rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cloud_service.database.usage import Tier
from cloud_service.retention.items import Content, Item, Planned, Reason
from cloud_service.retention.plan import MOST_BYTES, MOST_ITEMS, Need, Planning, Scans
from cloud_service.retention.policy import Policy
from cloud_service.retention_settings import RetentionSettings
from tests.cloud_service.retention.memory_view import DAY, NOW, MemoryView, item

R, V, T = Tier.RECORDS, Tier.VIDEO, Tier.THUMBNAILS
DAY_SECONDS = 86_400
NO_NEED = Need()


def planning(
    view: MemoryView,
    need: Need = NO_NEED,
    now_us: int | None = NOW,
    held: Callable[[Item, Reason], bool] = lambda item, reason: False,
    leased: Callable[[Item], bool] = lambda item: False,
    scans: Scans | None = None,
    **told: Any,
) -> Planning:
    policy = Policy.of(RetentionSettings.model_validate(told))
    return Planning(policy, view, scans or Scans(), now_us, view.usage(), need, held, leased)


def goes(planned: list[Planned]) -> list[tuple[Tier, int, Reason]]:
    return [(each.item.tier, each.item.number, each.reason) for each in planned]


def plan(view: MemoryView, **told: Any) -> list[tuple[Tier, int, Reason]]:
    return goes(list(planning(view, **told).planned()))


def days(*ages: float, tier: Tier = R, camera: str = "gate") -> list[Item]:
    """Segments 1 and on of these ages."""
    return [item(tier, number, round(age * DAY), camera) for number, age in enumerate(ages, 1)]


def test_without_settings_nothing_goes_while_the_disk_has_room() -> None:
    view = MemoryView([*days(4000, 10, 1), *days(4000, tier=V)])
    assert plan(view) == []
    assert list(Policy.of(RetentionSettings()).lines()) == [
        "records, video, thumbnails: kept without limit until less than 2% of the disk is free;"
        " retention.records.max_age_seconds and the like set one"
    ]


def test_what_is_older_than_max_age_goes_and_what_is_as_old_stays() -> None:
    assert plan(MemoryView(days(31, 30, 2)), records={"max_age_seconds": 30 * DAY_SECONDS}) == [(R, 1, Reason.MAX_AGE)]


def test_video_and_thumbnails_are_kept_no_longer_than_records_unless_they_have_an_age_of_their_own() -> None:
    view = MemoryView([*days(31, 5), *days(31, 5, tier=V), *days(31, 5, tier=T)])
    told = {"records": {"max_age_seconds": 30 * DAY_SECONDS}, "video": {"max_age_seconds": 2 * DAY_SECONDS}}
    assert plan(view, **told) == [
        (V, 1, Reason.MAX_AGE), (V, 2, Reason.MAX_AGE), (T, 1, Reason.MAX_AGE), (R, 1, Reason.MAX_AGE),
    ]  # fmt: skip


def test_a_camera_has_its_own_ages_field_by_field() -> None:
    view = MemoryView([*days(31, 2), *days(31, 2, camera="yard")])
    told = {
        "records": {"max_age_seconds": 60 * DAY_SECONDS, "max_bytes_per_camera": 1000},
        "cameras": [{"name": "yard", "records": {"max_age_seconds": DAY_SECONDS}}],
    }
    planned = list(planning(view, **told).planned())
    assert [(each.item.camera, each.item.number) for each in planned] == [("yard", 1), ("yard", 2)]
    own = RetentionSettings.model_validate(told).of("yard").records
    assert (own.max_age_seconds, own.max_bytes_per_camera) == (DAY_SECONDS, 1000)


def test_a_least_age_above_the_longest_is_an_error_that_names_both() -> None:
    for told, named in (
        ({"records": {"min_age_seconds": 20, "max_age_seconds": 10}}, "records: min_age_seconds is 20 and max_age"),
        ({"records": {"min_age_seconds": 20}, "quiet": {"max_age_seconds": 10}}, "quiet.max_age_seconds 10"),
        (
            {"cameras": [{"name": "gate", "video": {"min_age_seconds": 9, "max_age_seconds": 8}}]},
            "cameras.gate.video: min_age_seconds is 9 and max_age_seconds 8",
        ),
        ({"cameras": [{"name": "gate"}, {"name": "gate"}]}, "'gate' stands there twice"),
        ({"records": {"max_age_seconds": 5}, "video": {"min_age_seconds": 9}}, "video: min_age_seconds is 9"),
    ):
        with pytest.raises(ValidationError, match=named):
            RetentionSettings.model_validate(told)


def test_records_in_which_a_rule_of_keep_finds_something_stay_as_long_as_it_says() -> None:
    view = MemoryView(
        days(40, 40, 40, 40),
        {1: Content(True, {"person": 0.9}), 2: Content(True, {"person": 0.4}), 3: Content(True, {"cat": 0.9})},
    )
    told = {
        "records": {"max_age_seconds": 30 * DAY_SECONDS},
        "keep": [{"classes": ["person"], "score": 0.5, "max_age_seconds": 50 * DAY_SECONDS}],
    }
    assert plan(view, **told) == [(R, 2, Reason.MAX_AGE), (R, 3, Reason.MAX_AGE), (R, 4, Reason.MAX_AGE)]
    older = MemoryView(days(51), {1: Content(True, {"person": 0.9})})
    assert plan(older, **told) == [(R, 1, Reason.MAX_AGE)]


def test_quiet_is_what_was_looked_at_and_holds_nothing_worth_keeping() -> None:
    view = MemoryView(
        days(5, 5, 5, 0.5), {2: Content(True, {"person": 0.9}), 3: Content(False, {}), 4: Content(True, {})}
    )
    told = {"quiet": {"max_age_seconds": DAY_SECONDS, "then": "stills"}, "keep": [{"classes": ["person"]}]}
    planned = list(planning(view, **told).planned())
    assert goes(planned) == [(R, 1, Reason.QUIET)]
    assert planned[0].stills


def test_what_was_not_looked_at_is_quiet_once_it_was() -> None:
    view, scans = MemoryView(days(5, 5), {1: Content(False, {}), 2: Content(True, {})}), Scans()
    told = {"quiet": {"max_age_seconds": DAY_SECONDS}}
    assert goes(list(planning(view, scans=scans, **told).planned())) == [(R, 2, Reason.QUIET)]
    view.contents[1] = Content(True, {})
    scans.retry()
    assert (R, 1, Reason.QUIET) in goes(list(planning(view, scans=scans, **told).planned()))


def test_a_camera_that_takes_too_much_gives_its_oldest_that_nothing_protects() -> None:
    view = MemoryView([*days(9, 8, 7, 1), *days(20, camera="yard")])
    told = {"records": {"max_bytes_per_camera": 150, "min_age_seconds": 7.5 * DAY_SECONDS}}
    assert plan(view, **told) == [(R, 1, Reason.CAMERA_BYTES), (R, 2, Reason.CAMERA_BYTES)]


def test_a_total_takes_video_before_thumbnails_and_these_before_the_oldest_records_of_all() -> None:
    view = MemoryView([*days(9, 7), *days(8, camera="yard"), *days(2, tier=V), *days(3, tier=T)])
    assert plan(view, total={"max_bytes": 200}) == [
        (V, 1, Reason.TOTAL_BYTES), (T, 1, Reason.TOTAL_BYTES), (R, 1, Reason.TOTAL_BYTES),
    ]  # fmt: skip


def test_the_floor_takes_class_by_class_what_can_be_made_again_first_and_what_is_worth_keeping_last() -> None:
    view = MemoryView([*days(9, 8, 7), *days(2, tier=V), *days(3, tier=T)], {1: Content(True, {"person": 0.9})})
    told = {"keep": [{"classes": ["person"]}]}
    wanted = [(V, 1), (T, 1), (R, 2), (R, 3), (R, 1)]
    for needed in range(6):
        planned = planning(view, need=Need(100 * needed), **told)
        assert [(each.item.tier, each.item.number) for each in planned.planned()] == wanted[:needed]
        assert not planned.exhausted
    assert {reason for _, _, reason in plan(view, need=Need(100))} == {Reason.FREE_SPACE}
    assert plan(view, need=Need(0, 1)) == [(V, 1, Reason.FREE_INODES)]


def test_a_floor_that_only_young_records_could_meet_is_exhausted_unless_they_may_go_too() -> None:
    view = MemoryView(days(3, 1))
    told = {"records": {"min_age_seconds": 10 * DAY_SECONDS}}
    planned = planning(view, need=Need(100), **told)
    assert list(planned.planned()) == []
    assert planned.exhausted
    resort = planning(view, need=Need(100), floor={"last_resort": "delete_oldest"}, **told)
    assert goes(list(resort.planned())) == [(R, 1, Reason.LAST_RESORT)]


def test_without_a_clock_to_trust_no_age_counts_and_sizes_take_nothing_that_an_age_protects() -> None:
    view = MemoryView(days(31, 30, 2))
    told = {"records": {"max_age_seconds": DAY_SECONDS}}
    assert plan(view, now_us=None, **told) == []
    assert plan(view, now_us=None, need=Need(100)) == [(R, 1, Reason.FREE_SPACE)]
    assert plan(view, now_us=None, need=Need(100), records={"min_age_seconds": 9}) == []


def test_what_is_held_stays_whatever_the_rule_and_what_is_leased_is_asked_for_again() -> None:
    view, scans = MemoryView(days(31, 30.5, 30.2)), Scans()
    told = {"records": {"max_age_seconds": 30 * DAY_SECONDS, "max_bytes_per_camera": 0}}
    first = planning(view, scans=scans, held=lambda of, _: of.number == 1, leased=lambda of: of.number == 2, **told)
    assert goes(list(first.planned())) == [(R, 3, Reason.MAX_AGE)]
    scans.retry()
    again = planning(view, scans=scans, held=lambda of, _: of.number == 1, **told)
    assert (R, 2, Reason.MAX_AGE) in goes(list(again.planned()))


def test_a_batch_is_bounded_in_number_and_bytes_and_nothing_is_planned_twice() -> None:
    many = MemoryView([item(R, number, (1000 - number) * DAY) for number in range(1, 601)])
    batches = list(planning(many, records={"max_age_seconds": 1, "max_bytes_per_camera": 0}).batches())
    assert [len(batch) for batch in batches] == [MOST_ITEMS, MOST_ITEMS, 88]
    large = MemoryView([item(R, number, DAY, disk_bytes=MOST_BYTES // 2 - 1) for number in range(1, 6)])
    assert [len(batch) for batch in planning(large, records={"max_age_seconds": 1}).batches()] == [2, 2, 1]


ITEMS = st.lists(
    st.builds(
        item,
        tier=st.sampled_from([R, V, T]),
        number=st.integers(1, 10**6),
        age_us=st.integers(-5 * DAY, 50 * DAY),
        camera=st.sampled_from(["gate", "yard"]),
        disk_bytes=st.integers(0, 1000),
    ),
    max_size=30,
    unique_by=lambda of: (of.tier, of.camera, of.number),
)
AGES = st.none() | st.integers(0, 40 * DAY_SECONDS)


@given(
    ITEMS, AGES, st.integers(0, 40 * DAY_SECONDS), st.none() | st.integers(0, 9000), st.integers(0, 9000), st.booleans()
)
@settings(max_examples=150, deadline=None)
def test_whatever_lies_there_limits_hold_afterwards_and_nothing_protected_goes(
    items: list[Item], longest: int | None, least: int, limit: int | None, needed: int, trusted: bool
) -> None:
    least = min(least, longest) if longest is not None else least
    tier = {"max_age_seconds": longest, "min_age_seconds": least}
    told = {"records": tier, "video": tier, "thumbnails": tier, "total": {"max_bytes": limit}}
    now, view = NOW if trusted else None, MemoryView(items)
    look = planning(view, need=Need(needed), now_us=now, held=lambda of, _: of.number % 5 == 0, **told)
    planned = list(look.planned())
    gone = {(each.item.tier, each.item.camera, each.item.number) for each in planned}
    assert len(gone) == len(planned)
    left = [of for of in items if (of.tier, of.camera, of.number) not in gone]
    for each in planned:
        assert each.item.number % 5
        age = NOW - each.item.kept_from_us
        assert not least or (trusted and age >= least * 10**6)
        assert trusted or each.reason is not Reason.MAX_AGE
    if trusted and longest is not None:
        assert all(NOW - of.kept_from_us <= longest * 10**6 or of.number % 5 == 0 for of in left)
    may_go = [
        of for of in left if of.number % 5 and (not least or (trusted and NOW - of.kept_from_us >= least * 10**6))
    ]
    if limit is not None and may_go:
        assert sum(of.disk_bytes for of in left) <= limit
    if may_go:
        assert not look.exhausted
    freed = sum(each.item.disk_bytes for each in planned)
    assert look.exhausted == (freed < needed)


def test_what_the_floor_lets_stand_as_no_detector_came_by_is_asked_for_again() -> None:
    view, scans = MemoryView(days(9)), Scans()
    view.contents = {1: Content(False, {})}
    need, only = Need(100), {"floor": {"order": ["quiet"]}}
    assert goes(list(planning(view, need, scans=scans, **only).planned())) == []
    view.contents = {1: Content(True, {})}
    scans.retry()
    assert goes(list(planning(view, need, scans=scans, **only).planned())) == [(R, 1, Reason.FREE_SPACE)]


def test_rules_of_size_are_planned_anew_once_pictures_stay_of_quiet_records() -> None:
    view = MemoryView(days(9, 8, 1))
    view.contents = {2: Content(False, {}), 3: Content(False, {})}
    told = {"quiet": {"max_age_seconds": 5 * DAY_SECONDS, "then": "stills"}, "total": {"max_bytes": 100}}
    assert [goes(batch) for batch in planning(view, **told).batches()] == [
        [(R, 1, Reason.QUIET)],
        [(R, 2, Reason.TOTAL_BYTES)],
    ]
