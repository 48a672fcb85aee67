from cluster.fan_out.actor_environment import actor_environment
from cluster.fan_out.types import ActorResources


def test_threads_follow_cores_and_cpu_actors_see_no_gpu():
    environment = actor_environment(ActorResources(2.5), {})
    assert environment["OMP_NUM_THREADS"] == environment["MKL_NUM_THREADS"] == "2"
    assert environment["CUDA_VISIBLE_DEVICES"] == ""


def test_gpu_actors_see_what_ray_gives_them_and_have_a_thread():
    environment = actor_environment(ActorResources(0, num_gpus=0.25), {})
    assert environment["OMP_NUM_THREADS"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in environment


def test_a_leg_has_the_last_word():
    environment = actor_environment(ActorResources(1), {"OMP_NUM_THREADS": "8", "MINE": "yes"})
    assert (environment["OMP_NUM_THREADS"], environment["MINE"]) == ("8", "yes")
