"""What the tests of torch modules share."""

import pytest


@pytest.fixture(autouse=True)
def _one_thread():
    """The networks are tiny: threads that wait for each other take longer than the work."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
