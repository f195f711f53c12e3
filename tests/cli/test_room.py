"""What holds between balancer and worker, which know nothing of each other."""

from ringmill.balancer.limits import RouterLimits
from ringmill.server.config import WorkerConfig


def test_a_copy_has_room_for_all_that_the_cluster_lets_in() -> None:
    """A worker may copy partitions of all others, and know the streams that earlier balancers have let in."""
    assert 4 * RouterLimits().identities_max <= WorkerConfig.__dataclass_fields__["producers_max"].default
