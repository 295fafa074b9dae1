"""The table of networks as they are deployed: a table for each device, numbers as recorded."""

from benchmark.record import Record
from benchmark.report.tables.deployment import deployment_tables
from benchmark.store import Store


def record(number, network, device, method="ce", layer=(), **clock):
    """A measurement of a network."""
    run = {"dataset": "cifar100", "student": network, "method": method, "recipe": None}
    return Record(
        kind="deployment",
        id=f"{number:012x}",
        status="done",
        run=run,
        size={"student": 1000 * number, "macs": 41_300_000, "file_bytes": 1_234_567},
        clock={"batch": 256} | clock,
        provenance={"device": device, "layer": list(layer)},
    )


def test_each_device_has_a_table_of_its_networks_the_largest_first(tmp_path):
    store, fast = Store(tmp_path), {"latency_ms": 1.234, "images_per_s": 4567.8}
    store.add(record(1, "resnet8", "A", fp32=fast))
    store.add(record(3, "resnet20", "A", fp32=fast, bf16={"latency_ms": 0.5, "images_per_s": 9000.0}))
    store.add(record(2, "resnet8", "A", "lsh", (96, 64), fp32=fast))
    store.add(record(1, "resnet8", "B", fp32=fast))
    first, second = deployment_tables(store)
    assert (first.title, second.title) == ("Deployment · A", "Deployment · B")
    assert [line.label for line in first.lines] == ["resnet20", "resnet8 with the layer of lsh", "resnet8"]
    texts = [cell.text for cell in first.lines[0].cells]
    assert texts == ["cifar100", "3,000", "41.3 M", "1.23 MB", "1.23", "4,568", "0.50", "9,000"]
    assert [cell.text for cell in first.lines[2].cells][-2:] == ["–", "–"], "not measured in bf16"
    assert list(first.tidy["ms an image fp32"]) == [1.234] * 3


def test_without_measurements_there_is_no_table(tmp_path):
    assert deployment_tables(Store(tmp_path)) == []
