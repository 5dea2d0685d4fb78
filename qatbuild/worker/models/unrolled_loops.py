"""Recurrent layers of Keras that are unrolled: step by step, in operations that the integer runtime has.

Keras begins with a state of zeros, which is made for the size of each batch. What is multiplied with zeros is zero, and
the sum with it the other summand: here the first step has no state, and computes the same.

Equations: Gers et al. 2000 (LSTM with forget gates), Cho et al. 2014 (GRU; with `reset_after` as cuDNN has it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
import tensorflow as tf

State: TypeAlias = tuple[tf.Tensor, ...]
"""What a step leaves to the next: [batch, units] each, its result first. Before the first step it is empty."""


def is_known(layer: keras.Layer) -> bool:
    """Returns whether a layer is of a recurrent class of Keras that this module computes."""
    return type(layer) in _STEPS


def is_unrolled(layer: keras.Layer) -> bool:
    """Returns whether a layer is of such a class and unrolled, and every batch begins with a state of its own.

    One with dropout in its steps draws random numbers, for which it is refused elsewhere (keras_refusals).
    """
    return is_known(layer) and layer.unroll and not (layer.stateful or layer.dropout or layer.recurrent_dropout)


def unroll(layer: keras.layers.RNN) -> Callable[..., Any]:
    """Returns the method `call` of an unrolled layer, for sequences [batch, steps, values].

    It reads no mask: the layers that make one are refused as what they are.
    """
    step = _STEPS[type(layer)]

    def call(sequences: tf.Tensor, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:  # noqa: ARG001, FBT001, FBT002  as Keras has it
        state: State = tuple(keras.tree.flatten(initial_state)) if initial_state is not None else ()
        order, results = range(sequences.shape[1]), []
        for number in reversed(order) if layer.go_backwards else order:
            with tf.name_scope(f"step{number}"):
                state = step(layer.cell, sequences[:, number], state)
            results.append(state[0])
        result = tf.stack(results, axis=1) if layer.return_sequences else results[-1]
        return (result, *state) if layer.return_state else result

    return call


def _simple(cell: keras.layers.SimpleRNNCell, values: tf.Tensor, state: State) -> State:
    total = _dense("values", values, cell.kernel, cell.bias)
    if state:
        total = total + _dense("state", state[0], cell.recurrent_kernel)
    return (cell.activation(total),)


def _lstm(cell: keras.layers.LSTMCell, values: tf.Tensor, state: State) -> State:
    total = _dense("values", values, cell.kernel, cell.bias)
    if state:
        total = total + _dense("state", state[0], cell.recurrent_kernel)
    enter, forget, candidate, leave = _parts(total, 4)
    carry = cell.recurrent_activation(enter) * cell.activation(candidate)
    if state:
        carry = cell.recurrent_activation(forget) * state[1] + carry
    return cell.recurrent_activation(leave) * cell.activation(carry), carry


def _gru(cell: keras.layers.GRUCell, values: tf.Tensor, state: State) -> State:
    has_two = cell.use_bias and cell.reset_after
    bias, recurrent_bias = tf.unstack(cell.bias) if has_two else (cell.bias, None)
    update, reset, candidate = _parts(_dense("values", values, cell.kernel, bias), 3)
    added = _of_state(cell, state, recurrent_bias)
    if added:
        update, reset = update + added[0], cell.recurrent_activation(reset + added[1])
        if cell.reset_after:
            candidate = candidate + reset * added[2]
        else:
            kernel = cell.recurrent_kernel[:, 2 * cell.units :]
            candidate = candidate + _dense("reset", reset * state[0], kernel)
    update = cell.recurrent_activation(update)
    new = (1.0 - update) * cell.activation(candidate)
    return (update * state[0] + new if state else new,)


def _of_state(cell: keras.layers.GRUCell, state: State, bias: tf.Tensor | None) -> list[tf.Tensor]:
    """Returns what a GRU's state adds to its update gate, its reset gate and, with `reset_after`, its candidate."""
    if not state:
        return [] if bias is None else _parts(bias, 3)
    if cell.reset_after:
        return _parts(_dense("state", state[0], cell.recurrent_kernel, bias), 3)
    return _parts(_dense("state", state[0], cell.recurrent_kernel[:, : 2 * cell.units]), 2)


def _dense(name: str, values: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor | None = None) -> tf.Tensor:
    with tf.name_scope(name):
        products = tf.matmul(values, kernel)
        return products if bias is None else tf.nn.bias_add(products, bias)


def _parts(values: tf.Tensor, count: int) -> list[tf.Tensor]:
    """Returns equal parts of the last axis. They are slices, of which, unlike of a split, one may be unread."""
    size = values.shape[-1] // count
    return [values[..., number * size : (number + 1) * size] for number in range(count)]


_STEPS: Mapping[type, Callable[..., State]] = {
    keras.layers.SimpleRNN: _simple,
    keras.layers.LSTM: _lstm,
    keras.layers.GRU: _gru,
}
