"""How good labels are: confusion matrices, mIoU, threshold sweeps."""
