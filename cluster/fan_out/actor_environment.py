"""The environment variables of an actor's process."""

from collections.abc import Mapping

from cluster.fan_out.types import ActorResources

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def actor_environment(resources: ActorResources, overrides: Mapping[str, str]) -> dict[str, str]:
    """Environment of an actor with these resources.

    Numerical libraries start as many threads as the actor has cores, at least one. An actor without GPU sees none: Ray
    by itself leaves all of them visible to it.

    Args:
        resources: What the actor occupies.
        overrides: Variables that win over these.
    """
    num_threads = str(max(1, int(resources.num_cpus)))
    variables = dict.fromkeys(_THREAD_VARIABLES, num_threads)
    if resources.num_gpus == 0:
        variables["CUDA_VISIBLE_DEVICES"] = ""
    return {**variables, **overrides}
