from cluster.fan_out.placement import describe_request, describe_shortage


def test_describe_request():
    assert describe_request({"GPU": 0.25, "CPU": 2.0}) == "2 CPU and 0.25 GPU"


def test_describe_shortage():
    nodes = [{"CPU": 8.0}, {"CPU": 2.0, "GPU": 1.0}]
    assert describe_shortage({"CPU": 1.0}, []) == "the cluster has no usable node"
    assert (
        describe_shortage({"CPU": 16.0, "GPU": 4.0}, nodes)
        == "no node has enough CPU (asked 16, the largest node has 8), GPU (asked 4, the largest node has 1)"
    )
    assert describe_shortage({"CPU": 4.0, "GPU": 1.0}, nodes) == "no single node has enough of all of them"
    assert describe_shortage({"CPU": 8.0}, nodes) == "its place is being made, or others hold it"
