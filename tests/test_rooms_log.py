"""What the renderers write down, and what a killed one leaves."""

from lab.tiny_model.rooms.log import append, log_file, read_groups


def group(name):
    return {"group": name, "pictures": [{"file": f"{name}.png", "objects": [name]}]}


def test_groups_of_all_workers_are_read(tmp_path):
    for worker, name in ((0, "chair"), (1, "lamp"), (0, "sofa")):
        append(log_file(tmp_path, worker), group(name))
    assert [each["group"] for each in read_groups(tmp_path)] == ["chair", "sofa", "lamp"]


def test_a_torn_line_costs_its_group_alone(tmp_path):
    log = log_file(tmp_path, 0)
    append(log, group("chair"))
    log.write_text(log.read_text() + '{"group": "lamp", "pictu')
    append(log, group("sofa"))
    assert read_groups(tmp_path) == [group("chair"), group("sofa")]
