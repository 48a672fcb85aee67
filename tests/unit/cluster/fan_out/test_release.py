from cluster.fan_out.release import ActorIdleness, LegSeat, leg_to_shrink, make_room_patience_s, surplus

ACTORS = [
    ActorIdleness(0, True, None),
    ActorIdleness(1, True, 12.0),
    ActorIdleness(2, True, 30.0),
    ActorIdleness(3, True, 4.0),
    ActorIdleness(4, False, 50.0),
    ActorIdleness(5, False, 1.0),
]


def test_surplus_goes_unready_first_then_by_rest_and_never_while_busy():
    assert surplus(ACTORS, 6, 10.0) == []
    assert surplus(ACTORS, 5, 10.0) == [5]
    assert surplus(ACTORS, 3, 10.0) == [5, 4, 2]
    assert surplus(ACTORS, 0, 10.0) == [5, 4, 2, 1]
    assert surplus(ACTORS, 0, 0.0) == [5, 4, 2, 1, 3]


def seat(request, unplaced_for_s=None, *, has_work=False, num_idle=0):
    return LegSeat(request, unplaced_for_s, has_work, num_idle)


CPU, GPU = {"CPU": 1.0}, {"GPU": 1.0}


def test_an_idle_actor_makes_room_for_a_leg_without_any():
    assert leg_to_shrink([seat(CPU, num_idle=2), seat(CPU, 5.0, has_work=True)], 3.0) == 0
    assert leg_to_shrink([seat(CPU, 5.0, has_work=True), seat(CPU, num_idle=1), seat(CPU, num_idle=2)], 3.0) == 2


def test_nobody_makes_room_without_need():
    starving = seat(CPU, 5.0, has_work=True)
    assert leg_to_shrink([seat(CPU, num_idle=2), seat(CPU, 2.0, has_work=True)], 3.0) is None  # not yet
    assert leg_to_shrink([seat(CPU, num_idle=2, has_work=True), starving], 3.0) is None  # it will be busy at once
    assert leg_to_shrink([seat(CPU), starving], 3.0) is None  # nobody is idle
    assert leg_to_shrink([seat(GPU, num_idle=2), starving], 3.0) is None  # that would not help
    assert leg_to_shrink([seat(CPU, num_idle=2), seat(CPU)], 3.0) is None


def test_patience_is_longer_where_everything_should_fit():
    waits = make_room_patience_s(all_fit=True, make_room_after_s=2.0)
    assert waits > make_room_patience_s(all_fit=False, make_room_after_s=2.0) == 2.0
