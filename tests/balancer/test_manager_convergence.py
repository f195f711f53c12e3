"""From wherever deaths and joins have left it, the view comes to its goal and rests there."""

import numpy as np
import pytest

from ringmill.balancer import reconcile
from ringmill.balancer.draft import Draft
from ringmill.balancer.placement import Placement, eligible
from ringmill.core.maglev import NOBODY, maglev
from tests.balancer.manager_world import World, small


def storm(world: World, moments: int) -> None:
    """Things happen, and the world lives on for a while after each."""
    random = world.random
    for _ in range(moments):
        names = sorted(world.workers)
        name = random.choice(names)
        worker = world.workers[name]
        match random.randrange(9):
            case 0:
                if worker.up:
                    world.kill(name)
            case 1:
                if not worker.up or worker.exited:
                    world.join(name, host=worker.host, zone=worker.zone)
            case 2:
                if worker.up and not worker.exited:
                    world.cut(name)
            case 3:
                worker.hung = not worker.hung
            case 4:
                if len(names) < 6:
                    world.join(f"worker-{len(names)}", host=random.choice(["", "host-0", "host-1", "host-2"]))
            case 5:
                world.restart_manager()
            case 6:
                world.store_fails = random.choice([0.0, 0.5])
            case 7:
                world.blocked = {(name, random.choice(names))} if random.random() < 0.5 else set()
            case 8:
                world.now += random.choice([100, 5000])  # the balancer was asleep
        world.run(random.choice([20, 60, 300, 1500]))


def heal(world: World) -> None:
    world.store_fails, world.blocked = 0.0, set()
    for name, worker in sorted(world.workers.items()):
        worker.hung = False
        if not worker.up or worker.exited:
            world.join(name, host=worker.host, zone=worker.zone)


def assert_at_goal(world: World) -> None:
    view, rules = world.manager.view, world.rules
    members = eligible(view.members)
    goal = Placement(rules.partitions, rules.replicas).goal(members)
    assert goal is not None
    draft = Draft(view, rules.replicas)
    assert reconcile.is_whole(draft, goal)
    served = view.table != NOBODY
    table = maglev({member.name: member.weight for member in members}, rules.partitions)
    names = np.array([member.name for member in view.members])
    wanted = np.array([member.name for member in members])[table]
    assert names[view.table[served]].tolist() == wanted[served].tolist()
    assert set(view.copies()[served].tolist()) <= {min(rules.replicas, len(members))}
    if rules.restarts_empty:
        assert served.all()


@pytest.mark.parametrize("seed", range(30))
def test_it_comes_to_its_goal_and_rests(seed: int) -> None:
    replicas = 1 + seed % 3
    world = World(
        small(replicas=replicas, on_total_loss="restart-empty" if seed % 2 else "refuse"), seed, slow=seed % 4 > 1
    )
    world.store_delay_ms = 60 if seed % 5 > 2 else 0
    world.form(3, hosts=2 if seed % 3 else 0)
    world.run(500)
    storm(world, 25)
    heal(world)
    world.settle()
    assert_at_goal(world)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1400))
def test_it_comes_to_its_goal_and_rests_after_many_storms(seed: int) -> None:
    test_it_comes_to_its_goal_and_rests(seed)
