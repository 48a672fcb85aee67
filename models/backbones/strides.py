"""Less stride for a finished network: take strides away from its late convolutions, with or without dilation.

Source: dilated (atrous) convolution, Chen et al., DeepLab, TPAMI 2018; the plain removal without dilation is what IRN
does to the last stage of ResNet-50 (Ahn et al., CVPR 2019, released code).
"""

from collections.abc import Iterable

from torch import nn


def remove_strides(stages: Iterable[tuple[int, nn.Module]], output_stride: int, *, dilate: bool) -> None:
    """Changes `stages` in place so that no stride beyond `output_stride` is left.

    Args:
        stages: `(nominal stride of the stage's output, module)` from input to output.
        output_stride: The stride to end at.
        dilate: Multiply the dilation of all later k x k convolutions by the stride that was removed.
    """
    for nominal_stride, stage in stages:
        removed = nominal_stride // output_stride
        if removed > 1:
            _rewrite(stage, removed if dilate else 1)


def _rewrite(stage: nn.Module, dilation: int) -> None:
    before_stride = True  # the strided convolution itself still sees the finer grid: it keeps half the dilation
    for module in stage.modules():
        if isinstance(module, nn.Conv2d):
            strided = max(module.stride) > 1
            if max(module.kernel_size) > 1 and dilation > 1:
                kernel_dilation = max(1, dilation // 2) if strided and before_stride else dilation
                before_stride = before_stride and not strided
                module.dilation = (kernel_dilation, kernel_dilation)
                module.padding = tuple(kernel_dilation * (size - 1) // 2 for size in module.kernel_size)
            if strided:
                module.stride = (1, 1)
        elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            module.stride = 1
            # Without its stride a 2 x 2 window would only shift and crop the grid.
            if module.kernel_size == 2 and isinstance(module, nn.MaxPool2d):  # as in DeepLab's VGG-16
                module.kernel_size, module.padding = 3, 1
            elif module.kernel_size == 2:
                module.kernel_size = 1
