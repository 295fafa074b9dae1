"""Data sets: loading, checksums, image folders; every error is one sentence.

N images · H, W pixels
"""

import hashlib
import pickle
import socket
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR100

from benchmark.data import datasets, image_folder
from benchmark.errors import BadInput


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Every network connection fails; returns the requested addresses."""
    requested = []

    def refuse(_, address):
        requested.append(address)
        raise OSError("the test has no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **_: refuse(None, arguments))
    return requested


def random_pixels(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def error_of(action, *arguments):
    with pytest.raises(BadInput) as caught:
        action(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def numpy_statistics(x):
    """Mean and standard deviation of each channel, computed by numpy."""
    pixels = np.asarray(x, np.float64) / 255
    return pixels.mean((0, 1, 2)), pixels.std((0, 1, 2))


# ---- names
@pytest.mark.parametrize(
    ("name", "part"),
    [("cifar-100", "did you mean 'cifar100'"), ("mnist", "cifar10, cifar100, digits"), ("folder:", "folder:NAME")],
)
def test_an_unknown_data_set_is_refused_with_the_existing_ones(name, part, tmp_path):
    for action in (datasets.info, datasets.load):
        sentence = error_of(action, name, tmp_path)
        assert repr(name) in sentence
        assert part in sentence


# ---- digits
def test_digits_have_300_training_and_1497_test_images(tmp_path):
    found = datasets.load("digits", tmp_path)
    assert found.train_x.shape == (300, 32, 32, 3)
    assert found.test_x.shape == (1497, 32, 32, 3)
    assert found.train_x.dtype == found.test_x.dtype == torch.uint8
    assert found.classes == tuple("0123456789")
    assert datasets.info("digits", tmp_path) == datasets.DatasetInfo(10, 32, 32)


def test_digits_are_stratified_by_class(tmp_path):
    found = datasets.load("digits", tmp_path)
    share = found.train_y.bincount() / (found.train_y.bincount() + found.test_y.bincount())
    assert ((share - 300 / 1797).abs() < 0.01).all()


def test_digits_are_the_same_each_time_and_every_image_is_in_one_split(tmp_path):
    found, second = (datasets.digits("digits", tmp_path, False) for _ in range(2))
    assert found.sha256() == second.sha256()
    both = torch.cat([found.train_x, found.test_x]).flatten(1)
    from sklearn.datasets import load_digits

    assert len(both.unique(dim=0)) == len(np.unique(load_digits().images, axis=0))


def test_digits_are_the_scaled_images_of_scikit_learn(tmp_path):
    """Scaled back to 8 x 8, each class's mean image is closest to the original mean image of the same class."""
    from sklearn.datasets import load_digits

    found, scans = datasets.load("digits", tmp_path), load_digits()
    small = found.test_x[..., 0].float().reshape(-1, 8, 4, 8, 4).mean((2, 4))  # (N, 8, 8)
    means = torch.stack([small[found.test_y == k].mean(0) for k in range(10)])  # (10, 8, 8)
    expected = (
        torch.stack([torch.tensor(scans.images[scans.target == k]).mean(0) for k in range(10)]).float() * 255 / 16
    )
    assert torch.cdist(means.flatten(1), expected.flatten(1)).argmin(1).tolist() == list(range(10))


def test_the_hash_depends_on_every_image_and_label():
    x, y = random_pixels(4, 5, 6, 3), np.arange(4)
    hashes = set()
    for part in range(5):
        parts = [x.copy(), y.copy(), x[:2].copy(), y[:2].copy()]
        if part < 4:
            parts[part][(0,) * parts[part].ndim] += 1
        hashes.add(datasets.make_dataset("mine", tuple("abcde"), *parts).sha256())
    assert len(hashes) == 5


# ---- CIFAR with a few images
@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A data folder with CIFAR-100 of three classes and a few images, unpacked; torchvision expects its checksums."""
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    counts = {"train": 12, "test": 6}
    contents = {
        split: {"data": random_pixels(count, 3072, seed=count), "fine_labels": [i % 3 for i in range(count)]}
        for split, count in counts.items()
    }
    contents["meta"] = {"fine_label_names": ["apple", "bear", "clock"]}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content))
    checksums = {path.name: md5(path) for path in folder.iterdir()}
    monkeypatch.setattr(CIFAR100, "train_list", [["train", checksums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", checksums["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": checksums["meta"]})
    return tmp_path


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def archive(cifar, monkeypatch):
    """The same data as the official archive only."""
    path = cifar / CIFAR100.filename
    with tarfile.open(path, "w:gz") as file:
        file.add(cifar / "cifar-100-python", "cifar-100-python")
    for part in (cifar / "cifar-100-python").iterdir():
        part.unlink()
    (cifar / "cifar-100-python").rmdir()
    monkeypatch.setattr(CIFAR100, "tgz_md5", md5(path))
    return path


def check_miniature(root):
    found = datasets.load("cifar100", root)
    assert found.classes == ("apple", "bear", "clock")
    for x, y, count in ((found.train_x, found.train_y, 12), (found.test_x, found.test_y, 6)):
        planes = torch.from_numpy(random_pixels(count, 3072, seed=count)).reshape(count, 3, 32, 32)
        assert x.equal(planes.permute(0, 2, 3, 1))
        assert y.tolist() == [i % 3 for i in range(count)]


def test_cifar_is_read_unpacked(cifar):
    check_miniature(cifar)


def test_cifar_is_read_from_the_official_archive(archive):
    check_miniature(archive.parent)


def test_the_error_for_a_missing_cifar_says_what_to_put_where_and_nothing_is_downloaded(tmp_path, offline):
    root = tmp_path / "data"
    sentence = error_of(datasets.load, "cifar100", root)
    for part in (str(root), "cifar-100-python.tar.gz", "cifar-100-python/", "--data", "--download"):
        assert part in sentence
    assert offline == []
    assert not root.exists()


def test_the_error_for_a_failed_download_says_what_to_do(tmp_path, offline):
    sentence = error_of(datasets.load, "cifar100", tmp_path, True)
    assert offline != []
    assert "cifar-100-python.tar.gz" in sentence
    assert str(tmp_path) in sentence


def test_existing_files_are_not_downloaded_again(cifar, offline):
    datasets.load("cifar100", cifar, True)
    assert offline == []


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_a_truncated_file_is_named_with_both_checksums(cifar, name):
    path = cifar / "cifar-100-python" / name
    expected = md5(path)
    path.write_bytes(path.read_bytes()[:-1])
    sentence = error_of(datasets.load, "cifar100", cifar)
    for part in (str(path), f"expected {expected}", f"found {md5(path)}"):
        assert part in sentence


def test_one_altered_bit_is_detected(cifar):
    path = cifar / "cifar-100-python" / "train"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert str(path) in error_of(datasets.load, "cifar100", cifar)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_a_missing_file_is_named(cifar, name):
    path = cifar / "cifar-100-python" / name
    path.unlink()
    assert f"{path} is missing" in error_of(datasets.load, "cifar100", cifar)


def test_a_truncated_archive_is_named_and_not_unpacked(archive):
    archive.write_bytes(archive.read_bytes()[:-10])
    sentence = error_of(datasets.load, "cifar100", archive.parent)
    assert str(archive) in sentence
    assert f"found {md5(archive)}" in sentence
    assert not (archive.parent / "cifar-100-python").exists()


# ---- image folders
@pytest.fixture
def folder(tmp_path):
    """A data folder holding mine/{train,test}/{cat,dog}/*.png: three training images and one test image per class."""
    for split, count in (("train", 3), ("test", 1)):
        for seed, name in enumerate(("cat", "dog")):
            place = tmp_path / "mine" / split / name
            place.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(random_pixels(5, 4, 3, seed=100 * seed + 10 * count + i)).save(place / f"{i}.png")
    return tmp_path


def load(root):
    """Load without the cache of this process."""
    return image_folder.load(root / "mine", root / ".decoded")


def test_an_image_folder_has_its_classes_by_name_and_its_images_by_file(folder):
    found = datasets.load("folder:mine", folder)
    assert found.classes == ("cat", "dog")
    assert found.train_y.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.test_y.tolist() == [0, 1]
    for place, seed in enumerate([30, 31, 32, 130, 131, 132]):
        assert np.array_equal(found.train_x[place], random_pixels(5, 4, 3, seed=seed))
    assert datasets.info("folder:mine", folder) == datasets.DatasetInfo(2, 5, 4)


def test_statistics_are_those_of_the_training_images_as_numpy_computes_them(folder):
    found = datasets.load("folder:mine", folder)
    for statistic, expected in zip(found.statistics, numpy_statistics(found.train_x), strict=True):
        assert statistic == pytest.approx(expected.tolist())


def test_the_standard_deviation_of_a_constant_channel_is_not_0():
    _, sd = datasets.channel_statistics(torch.full((2, 3, 3, 3), 7, dtype=torch.uint8))
    assert min(sd) > 0


def test_a_second_load_decodes_nothing(folder, monkeypatch):
    first = load(folder)
    monkeypatch.setattr(image_folder, "decode", pytest.fail)
    for one, two in zip(first, load(folder), strict=True):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_changed_image_is_decoded_again(folder, split):
    load(folder)
    image = random_pixels(5, 4, 3, seed=999)
    Image.fromarray(image).save(folder / "mine" / split / "cat" / "0.png")
    x, _, test_x, _, _ = load(folder)
    assert np.array_equal((x if split == "train" else test_x)[0], image)


def test_an_image_moved_to_another_class_has_its_new_label(folder):
    load(folder)
    (folder / "mine/train/cat/2.png").rename(folder / "mine/train/dog/+.png")  # the order of the bytes stays the same
    assert load(folder)[1].tolist() == [0, 0, 1, 1, 1, 1]


def test_images_are_decoded_if_the_cache_cannot_be_written(folder):
    (folder / ".decoded").write_text("a file where the folder should be")
    assert len(load(folder)[0]) == 6


def test_damaged_cached_arrays_are_decoded_again(folder):
    first = load(folder)
    (cached,) = (folder / ".decoded").iterdir()
    cached.write_bytes(cached.read_bytes()[:100])
    assert np.array_equal(load(folder)[0], first[0])


@pytest.mark.parametrize("name", ["9.jpg", "9.JPEG", "9.PNG"])
def test_png_and_jpg_may_be_in_one_folder(folder, name):
    Image.fromarray(random_pixels(5, 4, 3)).save(folder / "mine/train/cat" / name)
    assert load(folder)[0].shape == (7, 5, 4, 3)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_other_colours_are_converted_to_three_channels(folder, mode):
    path = folder / "mine/train/cat" / ("0.jpg" if mode == "CMYK" else "0.png")
    (folder / "mine/train/cat/0.png").unlink()
    Image.fromarray(random_pixels(5, 4, 3)).convert(mode).save(path)
    with Image.open(path) as image:
        assert np.array_equal(load(folder)[0][0], np.asarray(image.convert("RGB")))


def test_sixteen_bits_of_grey_are_scaled_or_refused_by_name_but_never_clipped(folder):
    path = folder / "mine/train/cat/0.png"
    grey = np.arange(0, 60_000, 3000, dtype=np.uint16).reshape(5, 4)
    Image.fromarray(grey).save(path)
    try:
        image = load(folder)[0][0]
    except BadInput as fault:
        assert str(path) in str(fault)
    else:
        assert np.abs(image[..., 0] - grey / 257).max() <= 1


def test_other_files_are_ignored(folder):
    for place in ("notes.txt", "train/notes.txt", "train/cat/notes.txt", "train/.hidden/x.png"):
        (folder / "mine" / place).parent.mkdir(exist_ok=True)
        (folder / "mine" / place).write_text("not an image")
    assert load(folder)[0].shape == (6, 5, 4, 3)


def break_image(root):
    (root / "train/cat/1.png").write_bytes(b"not an image")


def cut_image(root):
    path = root / "test/dog/0.png"
    path.write_bytes(path.read_bytes()[:60])


def break_link(root):
    (root / "train/cat/9.png").symlink_to(root / "gone.png")


def resize_one(root):
    Image.fromarray(random_pixels(6, 4, 3)).save(root / "train/dog/2.png")


def resize_test(root):
    for path in (root / "test").rglob("*.png"):
        Image.fromarray(random_pixels(6, 4, 3)).save(path)


def drop_test_class(root):
    (root / "test/dog/0.png").unlink()
    (root / "test/dog").rmdir()


def add_test_class(root):
    (root / "test/emu").mkdir()


def empty_class(root):
    for path in (root / "train/dog").iterdir():
        path.unlink()


def drop_train(root):
    (root / "train").rename(root / "practice")


def drop_test(root):
    (root / "test").rename(root / "exam")


def one_class(root):
    for split in ("train", "test"):
        (root / split / "dog").rename(root / f"{split}-dog")


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (break_image, ["train/cat/1.png", "cannot be read"]),
        (cut_image, ["test/dog/0.png", "cannot be read"]),
        (break_link, ["train/cat/9.png"]),
        (resize_one, ["train/dog/2.png", "4 x 6", "4 x 5"]),
        (resize_test, ["mine", "train/ are 4 x 5", "test/ 4 x 6"]),
        (drop_test_class, ["'dog'", "train/ only"]),
        (add_test_class, ["'emu'", "test/ only"]),
        (empty_class, ["train/dog", "no .png or .jpg"]),
        (drop_train, ["mine/train", "does not exist"]),
        (drop_test, ["mine/test", "does not exist"]),
        (one_class, ["mine/train", "two or more"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_error_in_an_image_folder_is_one_sentence_naming_the_place(folder, damage, expected):
    damage(folder / "mine")
    sentence = error_of(datasets.load, "folder:mine", folder)
    for part in expected:
        assert part in sentence


def test_a_missing_folder_is_named(tmp_path):
    for action in (datasets.info, datasets.load):
        assert str(tmp_path / "mine") in error_of(action, "folder:mine", tmp_path)


# ---- real data
def test_the_official_cifar100_has_its_published_statistics(data_root):
    found = datasets.load("cifar100", data_root)
    assert found.train_x.shape == (50_000, 32, 32, 3)
    assert found.test_x.shape == (10_000, 32, 32, 3)
    assert found.train_y.bincount().tolist() == [500] * 100
    assert found.test_y.bincount().tolist() == [100] * 100
    assert found.classes[:2] == ("apple", "aquarium_fish")
    for published, measured in zip(found.statistics, datasets.channel_statistics(found.train_x), strict=True):
        assert published == pytest.approx(measured, abs=5e-4)


def test_an_image_folder_of_cifar10_has_the_published_statistics_of_cifar10(data_root):
    if not (data_root / "cifar10" / "train").is_dir():
        pytest.skip("KD_DATA holds no image folder cifar10")
    found = datasets.load("folder:cifar10", data_root)
    assert found.train_x.shape == (50_000, 32, 32, 3)
    assert found.test_y.bincount().tolist() == [1000] * 10
    for measured, published in zip(found.statistics, datasets.CHANNEL_STATISTICS["cifar10"], strict=True):
        assert measured == pytest.approx(published, abs=5e-4)
