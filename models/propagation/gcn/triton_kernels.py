"""CUDA kernels of the `triton` backend: one training step of many images, each with its own weights and its own size.

The equations are those of `closed_form`. A program works on one tile of one image's cells; `tl.program_id(1)` is the
image. Tiles beyond an image's last cell do nothing, so images of different sizes share a launch. Sums over cells are
kept as one partial sum a tile, and added up tile by tile in `update_weights`: an image's bits do not depend on its
company.

Memory, of every image: node arrays have room for `pitch` cells. `weights` holds W1 `[D, 16]`, b1 `[16]`, W2 `[16, C]`
and b2 `[C]` one after the other (`num_weights` numbers); hidden units beyond `UNITS` are zero and stay so. Products of
matrices are `ieee` float32: the tensor cores' tf32 would be wrong in the fourth digit.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, misc, operator, untyped-decorator, attr-defined"
# ruff: noqa: ANN001, ANN201, ANN202
# (the language of these functions is Triton's: capitals are compile-time constants, and there are no types to write)

import os

import triton
import triton.language as tl

# Multiply-adds may be fused: the default until Triton 3.9, which warns that it will change, and with it our bits.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

HIDDEN = tl.constexpr(16)
"""Hidden units of a row in memory: the least that `tl.dot` multiplies."""


@triton.jit
def _kept(node, unit, first_key, second_key, UNITS: tl.constexpr, THRESHOLD: tl.constexpr):
    """Whether dropout keeps a hidden unit: the hash of `counter_random`, bit for bit."""
    bits = (node[:, None] * UNITS + unit[None, :]).to(tl.uint32) ^ first_key
    bits = bits ^ (bits >> 16)
    bits = bits * tl.full((), 0x7FEB352D, tl.uint32)
    bits = bits ^ (bits >> 15)
    bits = bits ^ second_key
    bits = bits * tl.full((), 0x846CA68B, tl.uint32)
    bits = bits ^ (bits >> 16)
    return bits >= tl.full((), THRESHOLD, tl.uint32)


@triton.jit
def _spread(
    source, node_stride, channel_stride, planes, diagonal, offsets, node, channel, num_nodes, num_channels, width,
    pitch, PLANES: tl.constexpr, EXPONENTIATE: tl.constexpr,
):  # fmt: skip
    """Rows `node` of a symmetric stencil times `source`, `[tile, channels]`.

    A pair that leaves the grid has weight 0 in its plane, so only reads outside of memory need a mask.
    """
    is_channel = (channel < num_channels)[None, :]
    is_node = node < num_nodes
    cell = source + node[:, None] * node_stride + channel[None, :] * channel_stride
    own = tl.load(cell, mask=is_node[:, None] & is_channel, other=0.0)
    if EXPONENTIATE:
        own = tl.exp(own)
    total = tl.load(diagonal + node, mask=is_node, other=0.0)[:, None] * own
    for plane in range(PLANES):
        shift = tl.load(offsets + 2 * plane) * width + tl.load(offsets + 2 * plane + 1)
        weights = planes + plane * pitch
        for sign in tl.static_range(-1, 2, 2):
            other = node + sign * shift
            is_other = is_node & (other >= 0) & (other < num_nodes)
            weight = tl.load(weights + (node if sign == 1 else other), mask=is_other, other=0.0)
            value = tl.load(cell + sign * shift * node_stride, mask=is_other[:, None] & is_channel, other=0.0)
            if EXPONENTIATE:
                value = tl.exp(value)
            total += weight[:, None] * value
    return total


@triton.jit
def propagate_features(
    features, propagated, planes, diagonal, row_scale, offsets, sizes, pitch, num_features,
    PLANES: tl.constexpr, TILE: tl.constexpr, FEATURES_AT_ONCE: tl.constexpr,
):  # fmt: skip
    """A X, once an image. `features` is `[D, pitch]`, already times the column scale; `propagated` `[pitch, D]`."""
    image = tl.program_id(1).to(tl.int64)
    num_nodes, width = tl.load(sizes + 2 * image), tl.load(sizes + 2 * image + 1)
    if tl.program_id(0) * TILE >= num_nodes:
        return
    node = tl.program_id(0) * TILE + tl.arange(0, TILE)
    feature = tl.program_id(2) * FEATURES_AT_ONCE + tl.arange(0, FEATURES_AT_ONCE)
    total = _spread(
        features + image * num_features * pitch, 1, pitch, planes + image * PLANES * pitch, diagonal + image * pitch,
        offsets, node, feature, num_nodes, num_features, width, pitch, PLANES, False,
    )  # fmt: skip
    is_node = node < num_nodes
    total *= tl.load(row_scale + image * pitch + node, mask=is_node, other=0.0)[:, None]
    cell = propagated + image * num_features * pitch + node[:, None] * num_features + feature[None, :]
    tl.store(cell, total, mask=is_node[:, None] & (feature < num_features)[None, :])


@triton.jit
def hidden_layer(
    propagated, weights, column_scale, hidden, keys, step, sizes, pitch, num_images, num_features, num_weights,
    keep_scale, UNITS: tl.constexpr, THRESHOLD: tl.constexpr, TRAIN: tl.constexpr, TILE: tl.constexpr,
    FEATURES_AT_ONCE: tl.constexpr,
):  # fmt: skip
    """`column_scale * dropout(relu(A X W1 + b1))`, `[pitch, 16]`."""
    image = tl.program_id(1).to(tl.int64)
    num_nodes = tl.load(sizes + 2 * image)
    if tl.program_id(0) * TILE >= num_nodes:
        return
    node, unit = tl.program_id(0) * TILE + tl.arange(0, TILE), tl.arange(0, HIDDEN)
    is_node = node < num_nodes
    own = weights + image * num_weights
    rows = propagated + image * num_features * pitch + node[:, None] * num_features
    total = tl.zeros((TILE, HIDDEN), tl.float32) + tl.load(own + num_features * HIDDEN + unit)[None, :]
    for start in range(0, num_features, FEATURES_AT_ONCE):
        feature = start + tl.arange(0, FEATURES_AT_ONCE)
        is_feature = feature < num_features
        row = tl.load(rows + feature[None, :], mask=is_node[:, None] & is_feature[None, :], other=0.0)
        weight = tl.load(own + feature[:, None] * HIDDEN + unit[None, :], mask=is_feature[:, None], other=0.0)
        total = tl.dot(row, weight, total, input_precision="ieee")
    total = tl.maximum(total, 0.0)
    if TRAIN:
        key = keys + (tl.load(step) * num_images + image) * 2
        first_key = tl.load(key).to(tl.uint32, bitcast=True)
        second_key = tl.load(key + 1).to(tl.uint32, bitcast=True)
        total = tl.where(_kept(node, unit, first_key, second_key, UNITS, THRESHOLD), total * keep_scale, 0.0)
    total *= tl.load(column_scale + image * pitch + node, mask=is_node, other=0.0)[:, None]
    tl.store(hidden + (image * pitch + node[:, None]) * HIDDEN + unit[None, :], total, mask=is_node[:, None])


@triton.jit
def class_scores(
    hidden, weights, planes, diagonal, row_scale, offsets, spread, log_prob, sizes, pitch, num_features, num_weights,
    CLASSES: tl.constexpr, CLASSES_PADDED: tl.constexpr, PLANES: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """`A H` `[pitch, 16]`, and the log-softmax of `A H W2 + b2`, `[C, pitch]`."""
    image = tl.program_id(1).to(tl.int64)
    num_nodes, width = tl.load(sizes + 2 * image), tl.load(sizes + 2 * image + 1)
    if tl.program_id(0) * TILE >= num_nodes:
        return
    node, unit = tl.program_id(0) * TILE + tl.arange(0, TILE), tl.arange(0, HIDDEN)
    total = _spread(
        hidden + image * pitch * HIDDEN, HIDDEN, 1, planes + image * PLANES * pitch, diagonal + image * pitch,
        offsets, node, unit, num_nodes, HIDDEN, width, pitch, PLANES, False,
    )  # fmt: skip
    is_node, class_ = node < num_nodes, tl.arange(0, CLASSES_PADDED)
    is_class = class_ < CLASSES
    total *= tl.load(row_scale + image * pitch + node, mask=is_node, other=0.0)[:, None]
    tl.store(spread + (image * pitch + node[:, None]) * HIDDEN + unit[None, :], total, mask=is_node[:, None])
    second = weights + image * num_weights + (num_features + 1) * HIDDEN
    weight = tl.load(second + unit[:, None] * CLASSES + class_[None, :], mask=is_class[None, :], other=0.0)
    bias = tl.load(second + HIDDEN * CLASSES + class_, mask=is_class, other=float("-inf"))
    logit = tl.dot(total, weight, input_precision="ieee") + bias[None, :]
    logit -= tl.max(logit, 1)[:, None]
    logit -= tl.log(tl.sum(tl.exp(logit), 1))[:, None]
    cell = log_prob + (image * CLASSES + class_[None, :]) * pitch + node[:, None]
    tl.store(cell, logit, mask=is_node[:, None] & is_class[None, :])


@triton.jit
def loss_gradient(
    log_prob, spread, weights, planes, diagonal, offsets, row_scale, labels, cross_entropy, entropy, kappas,
    spread_gradient, losses, weight2_parts, sizes, pitch, num_tiles, num_features, num_weights,
    CLASSES: tl.constexpr, CLASSES_PADDED: tl.constexpr, PLANES: tl.constexpr, SMOOTHS_LOG: tl.constexpr,
    TILE: tl.constexpr,
):  # fmt: skip
    """A tile's loss; the gradient at `A H` times the row scale, `[pitch, 16]`; its share of W2's gradient."""
    image, tile = tl.program_id(1).to(tl.int64), tl.program_id(0)
    num_nodes, width = tl.load(sizes + 2 * image), tl.load(sizes + 2 * image + 1)
    if tile * TILE >= num_nodes:
        return
    node, unit = tile * TILE + tl.arange(0, TILE), tl.arange(0, HIDDEN)
    is_node, class_ = node < num_nodes, tl.arange(0, CLASSES_PADDED)
    is_class = class_ < CLASSES
    is_both = is_node[:, None] & is_class[None, :]
    own = log_prob + image * CLASSES * pitch
    rough = _spread(
        own, 1, pitch, planes + image * PLANES * pitch, diagonal + image * pitch, offsets, node, class_, num_nodes,
        CLASSES, width, pitch, PLANES, not SMOOTHS_LOG,
    )  # fmt: skip
    log_q = tl.load(own + class_[None, :] * pitch + node[:, None], mask=is_both, other=0.0)
    q = tl.where(is_both, tl.exp(log_q), 0.0)
    rough = tl.where(is_both, rough, 0.0)
    cross = tl.load(cross_entropy + image * pitch + node, mask=is_node, other=0.0)
    unknown = tl.load(entropy + image * pitch + node, mask=is_node, other=0.0)
    label = tl.load(labels + image * pitch + node, mask=is_node, other=255)
    kappa = tl.load(kappas + image)
    weighted = q * log_q
    negative_entropy = tl.sum(weighted, 1)
    target = tl.where(class_[None, :] == label[:, None], cross[:, None], 0.0)
    smoothed = log_q if SMOOTHS_LOG else q
    loss = 0.5 * kappa * tl.sum(smoothed * rough, 1) - unknown * negative_entropy - tl.sum(target * log_q, 1)
    tl.store(losses + image * num_tiles + tile, tl.sum(loss, 0))
    if SMOOTHS_LOG:
        at_prob = cross + unknown * negative_entropy - kappa * tl.sum(rough, 1)
        gradient = kappa * rough
    else:
        at_prob = cross + unknown * negative_entropy - kappa * tl.sum(q * rough, 1)
        gradient = kappa * q * rough
    gradient = gradient + q * at_prob[:, None] - weighted * unknown[:, None] - target
    gradient = tl.where(is_both, gradient, 0.0)
    second = weights + image * num_weights + (num_features + 1) * HIDDEN
    weight = tl.load(second + unit[None, :] * CLASSES + class_[:, None], mask=is_class[:, None], other=0.0)
    row = image * pitch + node
    scale = tl.load(row_scale + row, mask=is_node, other=0.0)[:, None]
    back = tl.dot(gradient, weight, input_precision="ieee") * scale
    cell = row[:, None] * HIDDEN + unit[None, :]
    tl.store(spread_gradient + cell, back, mask=is_node[:, None])
    forward = tl.load(spread + cell, mask=is_node[:, None], other=0.0)
    part = weight2_parts + (image * num_tiles + tile) * (HIDDEN + 1) * CLASSES_PADDED
    share = tl.dot(tl.trans(forward), gradient, input_precision="ieee")
    tl.store(part + unit[:, None] * CLASSES_PADDED + class_[None, :], share)
    tl.store(part + HIDDEN * CLASSES_PADDED + class_, tl.sum(gradient, 0))


@triton.jit
def hidden_gradient(
    spread_gradient, hidden, planes, diagonal, column_scale, offsets, sizes, pitch, keep_scale,
    PLANES: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The gradient at `A X W1 + b1`, in the place of `hidden`: what is not above 0 there was dropped or cut by ReLU."""
    image = tl.program_id(1).to(tl.int64)
    num_nodes, width = tl.load(sizes + 2 * image), tl.load(sizes + 2 * image + 1)
    if tl.program_id(0) * TILE >= num_nodes:
        return
    node, unit = tl.program_id(0) * TILE + tl.arange(0, TILE), tl.arange(0, HIDDEN)
    total = _spread(
        spread_gradient + image * pitch * HIDDEN, HIDDEN, 1, planes + image * PLANES * pitch, diagonal + image * pitch,
        offsets, node, unit, num_nodes, HIDDEN, width, pitch, PLANES, False,
    )  # fmt: skip
    is_node = node < num_nodes
    cell = hidden + (image * pitch + node[:, None]) * HIDDEN + unit[None, :]
    is_active = tl.load(cell, mask=is_node[:, None], other=0.0) > 0
    scale = keep_scale * tl.load(column_scale + image * pitch + node, mask=is_node, other=0.0)
    tl.store(cell, tl.where(is_active, total * scale[:, None], 0.0), mask=is_node[:, None])


@triton.jit
def weight1_gradient(
    propagated, gradient, weight1_parts, sizes, pitch, num_chunks, num_features,
    TILE: tl.constexpr, TILES_IN_CHUNK: tl.constexpr, FEATURES_AT_ONCE: tl.constexpr,
):  # fmt: skip
    """One chunk of tiles' share of the gradients of W1 (some features of it) and b1."""
    image, chunk = tl.program_id(1).to(tl.int64), tl.program_id(0)
    num_nodes = tl.load(sizes + 2 * image)
    if chunk * TILES_IN_CHUNK * TILE >= num_nodes:
        return
    feature, unit = tl.program_id(2) * FEATURES_AT_ONCE + tl.arange(0, FEATURES_AT_ONCE), tl.arange(0, HIDDEN)
    is_feature = feature < num_features
    share, bias = tl.zeros((FEATURES_AT_ONCE, HIDDEN), tl.float32), tl.zeros((HIDDEN,), tl.float32)
    for tile in range(TILES_IN_CHUNK):
        node = (chunk * TILES_IN_CHUNK + tile) * TILE + tl.arange(0, TILE)
        is_node = node < num_nodes
        row = image * pitch + node
        back = tl.load(gradient + row[:, None] * HIDDEN + unit[None, :], mask=is_node[:, None], other=0.0)
        cell = propagated + row[:, None] * num_features + feature[None, :]
        forward = tl.load(cell, mask=is_node[:, None] & is_feature[None, :], other=0.0)
        share = tl.dot(tl.trans(forward), back, share, input_precision="ieee")
        bias += tl.sum(back, 0)
    part = weight1_parts + (image * num_chunks + chunk) * (num_features + 1) * HIDDEN
    tl.store(part + feature[:, None] * HIDDEN + unit[None, :], share, mask=is_feature[:, None])
    if tl.program_id(2) == 0:
        tl.store(part + num_features * HIDDEN + unit, bias)


@triton.jit
def update_weights(
    weights, means, squares, gradients, weight1_parts, weight2_parts, tile_losses, losses, rates, step, sizes,
    num_tiles, num_chunks, num_images, num_features, num_weights, weight_decay, epsilon,
    CLASSES: tl.constexpr, CLASSES_PADDED: tl.constexpr, HAS_BIAS: tl.constexpr, TILE: tl.constexpr,
    FIRST_BETA: tl.constexpr, SECOND_BETA: tl.constexpr, TILES_IN_CHUNK: tl.constexpr, WEIGHTS_AT_ONCE: tl.constexpr,
):  # fmt: skip
    """Adds up the shares of the gradient, and takes Adam's step; the image's loss is added up in float64."""
    image = tl.program_id(1).to(tl.int64)
    num_nodes, now = tl.load(sizes + 2 * image), tl.load(step)
    own_tiles, own_chunks = tl.cdiv(num_nodes, TILE), tl.cdiv(num_nodes, TILE * TILES_IN_CHUNK)
    index = tl.program_id(0) * WEIGHTS_AT_ONCE + tl.arange(0, WEIGHTS_AT_ONCE)
    num_first = (num_features + 1) * HIDDEN
    is_first, is_second = index < num_first, (index >= num_first) & (index < num_weights)
    row, class_ = (index - num_first) // CLASSES, (index - num_first) % CLASSES
    gradient = tl.zeros((WEIGHTS_AT_ONCE,), tl.float32)
    for chunk in range(own_chunks):
        part = weight1_parts + (image * num_chunks + chunk) * num_first
        gradient += tl.load(part + index, mask=is_first, other=0.0)
    for tile in range(own_tiles):
        part = weight2_parts + (image * num_tiles + tile) * (HIDDEN + 1) * CLASSES_PADDED
        gradient += tl.load(part + row * CLASSES_PADDED + class_, mask=is_second, other=0.0)
    if not HAS_BIAS:
        is_bias = (is_first & (index >= num_features * HIDDEN)) | (is_second & (row == HIDDEN))
        gradient = tl.where(is_bias, 0.0, gradient)
    cell, exists = image * num_weights + index, index < num_weights
    tl.store(gradients + cell, gradient, mask=exists)
    weight = tl.load(weights + cell, mask=exists, other=0.0)
    gradient += weight_decay * weight
    mean = FIRST_BETA * tl.load(means + cell, mask=exists, other=0.0) + (1 - FIRST_BETA) * gradient
    square = SECOND_BETA * tl.load(squares + cell, mask=exists, other=0.0) + (1 - SECOND_BETA) * gradient * gradient
    step_size, root = tl.load(rates + 2 * now), tl.load(rates + 2 * now + 1)
    weight -= step_size * mean / (tl.sqrt(square) / root + epsilon)
    tl.store(weights + cell, weight, mask=exists)
    tl.store(means + cell, mean, mask=exists)
    tl.store(squares + cell, square, mask=exists)
    if tl.program_id(0) == 0:
        loss = tl.zeros((), tl.float64)
        for tile in range(own_tiles):
            loss += tl.load(tile_losses + image * num_tiles + tile).to(tl.float64)
        tl.store(losses + now * num_images + image, loss)
