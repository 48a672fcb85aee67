"""Label Studio's brush format, read as its description says."""


def decode_brush(rle):
    """rle-pack's decoder, from the description of its format: one bit after the other."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    at = 0

    def read(count):
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    num = read(32)
    word_size = read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values = []
    while len(values) < num:
        is_run = read(1)
        length = 1 + read(sizes[read(2)])
        values += [read(word_size)] * length if is_run else [read(word_size) for _ in range(length)]
    assert len(bits) - at < 8
    return values
