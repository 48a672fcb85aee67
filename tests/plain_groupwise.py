"""The equations of the group-wise paper, written out in numpy with loops."""

import numpy as np


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax_rows(matrix):
    powers = np.exp(matrix - matrix.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def edge(first_NC, second_NC, P_Cc, Q_Cc):
    """Eq. 5 for one direction: e = g_i P Q^T g_j^T."""
    return first_NC @ P_Cc @ Q_Cc.T @ second_NC.T


def symmetric_edge(first_NC, second_NC, P_Cc, Q_Cc):
    """Eq. 5 with the symmetric part of P Q^T."""
    W = P_Cc @ Q_Cc.T
    return first_NC @ ((W + W.T) / 2) @ second_NC.T


def message(edge_NN, source_NC):
    """Eq. 7."""
    return softmax_rows(edge_NN) @ source_NC


def cosines(first_Nc, second_Mc):
    """Of every row with every other, each without the mean row of its own map."""
    first, second = (rows - rows.mean(axis=0) for rows in (first_Nc, second_Mc))
    return np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in second] for a in first])


def linear(rows_NC, weight_and_bias):
    """A 1x1 convolution."""
    weight, bias = weight_and_bias
    return rows_NC @ weight.T + bias


def self_edge(nodes_NC, query, key, value):
    """Eq. 6; each of the convolutions is (weight, bias)."""
    f, g, h = (linear(nodes_NC, each) for each in (query, key, value))
    return softmax_rows(f @ g.T) @ h + nodes_NC


def gru(message_NC, state_NC, gates, candidate):
    """A GRU of each position; gates give update and reset."""
    both = sigmoid(np.concatenate([message_NC, state_NC], axis=1) @ gates[0].T + gates[1])
    update, reset = np.split(both, 2, axis=1)
    proposal = np.tanh(np.concatenate([message_NC, reset * state_NC], axis=1) @ candidate[0].T + candidate[1])
    return (1 - update) * state_NC + update * proposal


def dropped(nodes_hwC, draw, delta_r, delta_d):
    """Eqs. 11 and 12 as printed."""
    o_hw = nodes_hwC.mean(axis=2)
    s_hw = sigmoid(o_hw) if draw < delta_r else o_hw * (o_hw < o_hw.max() * delta_d)
    return nodes_hwC * s_hw[..., None]


def edge_logits(first_NC, second_NC, position, channel, head, scales):
    """Eqs. 14 to 17 with maps, and the mean over positions at the end."""
    g_Nc = np.concatenate([first_NC, second_NC], axis=1)
    u_NN = softmax_rows(scales[0] * g_Nc @ g_Nc.T)
    p_Nc = u_NN @ g_Nc + g_Nc
    v_cc = softmax_rows(scales[1] * g_Nc.T @ g_Nc)
    c_Nc = g_Nc @ v_cc + g_Nc
    fused_NC = p_Nc @ position[0].T + position[1] + c_Nc @ channel[0].T + channel[1]
    return (fused_NC @ head.T).mean(axis=0)


def cross_entropy(logits_L, target_L):
    """Multi-label: the mean over the classes."""
    probability = sigmoid(logits_L)
    return float(np.mean(-(target_L * np.log(probability) + (1 - target_L) * np.log(1 - probability))))
