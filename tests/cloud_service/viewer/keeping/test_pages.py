"""What is kept, in a real browser, of a real viewer beside a real cloud."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, Page, expect

from cloud_service.viewer.accounts.audit import FOLDER, AuditEntry
from icm.client.cloud import CloudClient
from tests.browser import quiet_page, what_keeps_people_out
from tests.cloud_service.viewer.keeping.conftest import around_now
from tests.cloud_service.viewer.live.conftest import LiveHouse
from tests.cloud_service.viewer.live.test_wall import log_in

PATIENCE_MS = 60_000
PAGES = ("/storage", "/holds", "/integrity", "/jobs")


def go(page: Page, path: str) -> None:
    log_in(page, "otto")
    page.wait_for_load_state()
    page.goto(path)


def audited(kept: LiveHouse) -> list[str]:
    """Actions in the audit log, the oldest first."""
    (file,) = (kept.house.folder / "viewer" / FOLDER).glob("*.log")
    return [AuditEntry.of(line).action for line in file.read_bytes().splitlines()]


def test_something_is_held_as_its_address_says_and_let_go_of_again(
    browser: Browser, kept: LiveHouse, cloud: CloudClient
) -> None:
    start, end = around_now()
    with quiet_page(browser, kept.house.url) as page:
        go(page, f"/holds?camera=gate&from={start}&to={end}")
        expect(page.get_by_label("gate")).to_be_checked()
        page.get_by_label("Why").fill("a theft <b>at</b> the gate")
        page.get_by_label("Budget in GB").fill("2.5")
        page.get_by_label("Ends by itself").fill(f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%dT%H:%M:%S}")
        page.get_by_role("button", name="Hold").click()
        expect(page.locator(".flash")).to_contain_text("was added")
        (hold,) = cloud.holds()
        assert (hold.owner, hold.cameras, hold.max_bytes) == ("otto", ("gate",), 2_500_000_000)
        assert (f"{hold.start:%Y-%m-%dT%H:%M:%S}", hold.expires is not None) == (start, True)
        row = page.get_by_role("row", name="a theft <b>at</b> the gate")
        expect(row).to_contain_text("2.5 GB")
        assert hold.bytes > 0
        page.locator("summary").click()
        page.get_by_role("button", name="Release it").click()
        expect(page.locator(".flash")).to_contain_text("was released")
        assert cloud.holds() == []
        page.get_by_role("link", name="With those that have ended").click()
        expect(page.get_by_role("row", name="a theft")).to_contain_text("by otto")
    assert [action for action in audited(kept) if action.startswith("hold")] == ["hold", "hold-released"]


def test_who_sees_one_camera_holds_and_sees_holds_of_that_one_alone(kept: LiveHouse, cloud: CloudClient) -> None:
    now = datetime.now(UTC)
    every = cloud.add_hold(now, now + timedelta(hours=1), owner="court", reason="all of it")
    other = cloud.add_hold(now, now + timedelta(hours=1), owner="gus", reason="the yard", cameras=["yard-1"])
    mine = cloud.add_hold(now, now + timedelta(hours=1), owner="otto", reason="the gate", cameras=["gate"])
    start, end = around_now()
    gus = kept.house.logged_in("gus")
    page = gus.get("/holds").text
    assert ("all of it" in page, "the yard" in page, "the gate" in page, "yard-1" in page) == (
        False, False, True, False,
    )  # fmt: skip
    assert gus.send("/holds", **{"camera-yard-1": "on", "from": start, "to": end, "reason": "x"}).status_code == 400
    for hold in (every, other):
        assert gus.send(f"/holds/{hold.id}/release").status_code == 404
    assert gus.send(f"/holds/{mine.id}/release").status_code == 403, "another's"
    assert kept.house.logged_in("vera").get("/holds").status_code == 403
    anna = kept.house.logged_in("anna")
    for hold in (every, other, mine):
        assert anna.send(f"/holds/{hold.id}/release").status_code == 303
    assert anna.send(f"/holds/{mine.id}/release").status_code == 404


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"camera-gate": None}, "choose at least one camera"),
        ({"from": "soon"}, "the start is"),
        ({"from": None}, "say when the hold begins and ends"),
        ({"to": "1990-01-01T00:00"}, "ends before it begins"),
        ({"reason": " "}, "say why it is held"),
        ({"budget": "-1"}, "the budget is"),
        ({"budget": "1e999"}, "the budget is"),
        ({"budget": "0.000000001"}, "budget is 1 bytes"),
        ({"expires": "1990-01-01T00:00"}, "must expire in the future"),
    ],
)
def test_what_cannot_be_held_is_named_and_the_form_keeps_the_rest(
    kept: LiveHouse, cloud: CloudClient, changes: dict[str, str | None], said: str
) -> None:
    start, end = around_now()
    fields: dict[str, str | None] = {"camera-gate": "on", "from": start, "to": end, "reason": "theft", **changes}
    form = {name: value for name, value in fields.items() if value is not None}
    answer = kept.house.logged_in("otto").send("/holds", **form)
    assert (answer.status_code, said in answer.text) == (400, True), answer.text
    if "reason" not in changes:
        assert 'value="theft"' in answer.text
    assert cloud.holds() == []


def test_the_bar_adds_up_to_the_disk_and_a_preview_tells_what_would_go_and_nothing_goes(
    browser: Browser, kept: LiveHouse, cloud: CloudClient
) -> None:
    with quiet_page(browser, kept.house.url) as page:
        go(page, "/storage")
        shares = page.locator("[data-share]").evaluate_all("all => all.map((each) => Number(each.dataset.bytes))")
        assert sum(shares) == int(page.locator("[data-disk]").get_attribute("data-disk") or 0)
        assert page.locator("svg.disk rect").count() >= 5
        expect(page.get_by_role("row", name="yard-1")).to_contain_text("kB")
        page.get_by_label("All together, at most").fill("0.000000001")
        page.get_by_role("button", name="Preview").click()
        expect(page.locator("[data-preview]")).to_contain_text("would come free")
        plan = cloud.plan_retention(["total.max_bytes=1"])
        assert int(page.locator("[data-preview]").get_attribute("data-preview") or 0) == sum(
            each.bytes for each in plan.deletions if each.tier != "index"
        )
        expect(page.get_by_role("region", name="What would go")).to_contain_text("total_bytes")
        expect(page.get_by_label("All together, at most")).to_have_value("0.000000001")
    assert cloud.plan_retention().deletions == ()


def test_who_sees_one_camera_is_told_of_that_one_and_of_others_together(kept: LiveHouse, cloud: CloudClient) -> None:
    gus = kept.house.logged_in("gus")
    page = gus.get("/storage?total=0.000000001&preview=1").text
    assert "yard-1" not in page
    assert ("And 1 that you do not see" in page, "of cameras that you do not see" in page) == (True, True)
    for path in ("/integrity", "/jobs", "/holds"):
        assert "yard-1" not in gus.get(path).text
    for path in PAGES:
        assert kept.house.logged_in("vera").get(path).status_code == 403


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("video=soon", "Video is &#39;soon&#39;"),
        ("records=-3", "Records is"),
        ("total=nan", "All together is"),
        ("camera=1e30", "Records of each camera is"),
        ("quiet=99999999", "Quiet records is"),
    ],
)
def test_a_preview_of_what_can_be_no_rule_says_so(kept: LiveHouse, cloud: CloudClient, query: str, said: str) -> None:
    answer = kept.house.logged_in("otto").get(f"/storage?preview=1&{query}")
    assert (answer.status_code, said in answer.text) == (400, True), answer.text


def test_cameras_are_verified_and_the_result_stays_on_both_pages(
    browser: Browser, kept: LiveHouse, cloud: CloudClient
) -> None:
    with quiet_page(browser, kept.house.url) as page:
        go(page, "/integrity")
        page.get_by_label("yard-1").check()
        page.get_by_label("Read and hash every file").check()
        page.get_by_role("button", name="Verify").click()
        page.wait_for_selector('[data-verification="done"]', timeout=PATIENCE_MS)
        expect(page.get_by_role("status")).to_contain_text("Nothing was found that does not hold")
        name = page.url.rpartition("/")[2]
        page.goto("/integrity")
        expect(page.get_by_role("row", name="yard-1")).to_contain_text("every file read")
        page.goto("/jobs")
        expect(page.get_by_role("region", name="Verifications")).to_contain_text("holds")
    gus = kept.house.logged_in("gus")
    assert gus.get(f"/integrity/{name}").status_code == 404
    assert gus.send(f"/integrity/{name}/cancel").status_code == 404
    otto = kept.house.logged_in("otto")
    assert otto.send(f"/integrity/{name}/cancel").status_code == 400, "it has ended"
    for nothing in ("v-0", "..%2f", "x" * 300):
        assert otto.get(f"/integrity/{nothing}").status_code == 404
    assert "verify" in audited(kept)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"camera-gate": None}, "choose at least one camera"),
        ({"witnesses": "<script>alert(1)</script>"}, "line 1 of the witnessed heads"),
        ({"witnesses": "x\n" * 1001}, "1001 heads are too many"),
        ({"from": "2026-01-02T00:00", "to": "2026-01-01T00:00"}, "&#39;from&#39; is behind &#39;to&#39;"),
    ],
)
def test_what_cannot_be_verified_is_named(
    kept: LiveHouse, cloud: CloudClient, changes: dict[str, str | None], said: str
) -> None:
    form = {name: value for name, value in {"camera-gate": "on", **changes}.items() if value is not None}
    answer = kept.house.logged_in("otto").send("/integrity", **form)
    assert (answer.status_code, said in answer.text) == (400, True), answer.text
    assert "<script>alert" not in answer.text


def test_the_past_is_looked_at_again_and_the_page_follows_by_itself(
    browser: Browser, kept: LiveHouse, cloud: CloudClient
) -> None:
    with quiet_page(browser, kept.house.url) as page:
        go(page, "/jobs?camera=gate")
        (model,) = cloud.weights()
        page.get_by_label("Weights").select_option(model)
        page.get_by_role("button", name="Look again").click()
        expect(page.locator(".flash")).to_contain_text("was added")
        page.wait_for_selector('[data-state="done"]', timeout=PATIENCE_MS)
        (job,) = cloud.redetections()
        assert (job.cameras, job.model) == (("gate",), model)
        expect(page.locator(f'[data-redetection="{job.id}"]')).to_contain_text(f"in {job.frames} frames")
        expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    assert "redetect" in audited(kept)


def test_a_job_is_paused_resumed_and_cancelled_by_who_sees_its_cameras(kept: LiveHouse, cloud: CloudClient) -> None:
    otto, gus = kept.house.logged_in("otto"), kept.house.logged_in("gus")
    (model,) = cloud.weights()
    # Two are before it, so that it waits.
    jobs = [cloud.redetect(["gate", "yard-1"], model).id for _ in range(3)]
    address = f"/jobs/redetections/{jobs[-1]}"
    assert gus.send(f"{address}/pause").status_code == 404
    assert otto.send(f"{address}/pause").status_code == 303
    assert f'action="{address}/resume"' in otto.get("/jobs").text
    assert otto.send(f"{address}/pause").status_code == 400
    assert otto.send(f"{address}/resume").status_code == 303
    for change, status in (("cancel", 303), ("cancel", 400), ("delete", 404)):
        assert otto.send(f"{address}/{change}").status_code == status
    for nothing in ("0", "999", "-1", "1e3", "9" * 40, "x"):
        assert otto.send(f"/jobs/redetections/{nothing}/cancel").status_code == 404
    assert {job.id: job.state for job in cloud.redetections()}[jobs[-1]] == "cancelled"
    assert [action for action in audited(kept) if action.startswith("redetection")] == [
        "redetection-paused", "redetection-resumed", "redetection-cancelled",
    ]  # fmt: skip
    for job in jobs[1::-1]:
        otto.send(f"/jobs/redetections/{job}/cancel")


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"camera-gate": None}, 400, "choose at least one camera"),
        ({"model": None}, 400, "choose the weights"),
        ({"model": "/etc/passwd"}, 404, "there are no weights"),
        ({"every": "0"}, 400, "the distance of frames is"),
        ({"every": "1.5"}, 400, "is a whole number"),
        ({"from": "2026-01-02T00:00", "to": "2026-01-01T00:00"}, 400, "is not before"),
        ({"from": "2100-01-01T00:00"}, 400, "nothing is to be done"),
    ],
)
def test_what_cannot_be_looked_at_again_is_named(
    kept: LiveHouse, cloud: CloudClient, changes: dict[str, str | None], status: int, said: str
) -> None:
    fields: dict[str, str | None] = {"camera-gate": "on", "model": cloud.weights()[0], **changes}
    form = {name: value for name, value in fields.items() if value is not None}
    answer = kept.house.logged_in("otto").send("/jobs", **form)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text


def test_nothing_keeps_people_out_on_a_phone_or_a_desk_in_light_or_dark(
    browser: Browser, kept: LiveHouse, cloud: CloudClient
) -> None:
    now = datetime.now(UTC)
    hold = cloud.add_hold(now, now + timedelta(hours=1), owner="otto", reason="x " * 200, cameras=["gate"])
    verified = cloud.verifications()[0].id
    with quiet_page(browser, kept.house.url) as page:
        go(page, "/storage")
        for width, scheme in ((390, "light"), (1440, "dark")):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            for path in (*PAGES[1:], "/storage?total=0.000000001&preview=1", f"/integrity/{verified}"):
                page.goto(path)
                assert what_keeps_people_out(page) == [], path
                assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    cloud.release_hold(hold.id, "otto")


def test_without_scripts_and_by_keyboard_all_of_it_works(browser: Browser, kept: LiveHouse, cloud: CloudClient) -> None:
    start, end = around_now()
    with quiet_page(browser, kept.house.url, java_script_enabled=False) as page:
        go(page, f"/holds?camera=yard-1&from={start}&to={end}")
        page.get_by_label("Why").focus()
        page.keyboard.type("by keyboard")
        page.keyboard.press("Enter")
        expect(page.locator(".flash")).to_contain_text("was added")
        summary = page.locator("summary", has_text="Release")
        summary.focus()
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.locator(".flash")).to_contain_text("was released")
        page.get_by_role("link", name="Integrity").click()
        expect(page.get_by_role("link", name="Keeping")).to_have_attribute("aria-current", "true")
        expect(page.get_by_role("navigation", name="Keeping").get_by_role("link", name="Integrity")).to_have_attribute(
            "aria-current", "page"
        )
        page.get_by_label("gate").check()
        page.get_by_role("button", name="Verify").click()
        expect(page.get_by_role("heading", name="Verification")).to_be_visible()
    assert cloud.holds() == []
