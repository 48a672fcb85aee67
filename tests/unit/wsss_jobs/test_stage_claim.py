import threading
import time

from wsss_jobs.stage_claim import StageClaim


def claim(store, name, **times):
    return StageClaim(store, "train-0", name, **{"touch_s": 0.02, "silent_s": 2.0, "settle_s": 0.05, **times})


def test_one_driver_works_and_the_other_waits_until_it_is_done(store):
    done, order, told = threading.Event(), [], []

    def second():
        with claim(store, "b").held(done.is_set, told.append) as is_mine:
            order.append(f"b {is_mine}")

    with claim(store, "a").held(done.is_set, told.append) as is_mine:
        order.append(f"a {is_mine}")
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(2.5)  # longer than silence: a lives
        order.append("a done")
        done.set()
    thread.join()
    assert order == ["a True", "a done", "b False"]
    assert len(told) == 1
    assert "another driver (a)" in told[0]
    assert list(store.list("jobs/claims/")) == []


def test_a_driver_that_gave_up_is_followed_at_once(store):
    with claim(store, "a").held(lambda: False, lambda _: None) as first:
        assert first
    with claim(store, "b", silent_s=60).held(lambda: False, lambda _: None) as second:
        assert second


def test_a_dead_driver_is_followed_when_it_has_been_silent(store):
    store.put("jobs/claims/train-0.json", b'{"driver": "dead", "touch": 7}')
    told = []
    with claim(store, "b", silent_s=0.3).held(lambda: False, told.append) as is_mine:
        assert is_mine
    assert "dead" in told[0]


def test_nothing_to_do_needs_no_claim(store):
    with claim(store, "a").held(lambda: True, lambda _: None) as is_mine:
        assert not is_mine
    assert list(store.list("jobs/")) == []


def test_a_stage_that_was_done_between_two_looks_is_not_begun_again(store):
    looks = iter([False, True])  # the other driver ends, and gives its claim up, just after the first look
    with claim(store, "b").held(lambda: next(looks), lambda _: None) as is_mine:
        assert not is_mine
    assert list(store.list("jobs/claims/")) == []
