"""Object stores, and what is kept in them: masks, tables, tensors and the outputs of stages."""
