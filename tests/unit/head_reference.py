#!/usr/bin/env python3
"""The ridge regression of src/orchestra/head_solve.c, another way: Newton's method on the whole
curvature matrix, in double precision. Writes tests/unit/head_reference.h.

    tests/unit/head_reference.py > tests/unit/head_reference.h
"""

import numpy

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15
SAMPLES, LABELS = 40, 3
BIAS_STRENGTH = 1e-2
CASES = [("narrow", 6, 0.3), ("wide", 90, 0.3), ("weak", 90, 0.003)]


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def uniform(seed, choice, position):
    """engine/sample.h's random_uniform."""
    z = mix((seed + GOLDEN) & MASK)
    z = mix(z ^ ((choice + GOLDEN) & MASK))
    z = mix(z ^ ((position + GOLDEN) & MASK))
    return (z >> 11) * 2.0**-53


def make(width):
    """Samples about a place of their label's, single precision, as the test makes them."""
    labels = numpy.array([i % LABELS for i in range(SAMPLES)])
    states = numpy.array(
        [[uniform(7, i, j) + 0.5 * uniform(8, int(labels[i]), j) for j in range(width)] for i in range(SAMPLES)]
    ).astype(numpy.float32)
    return states.astype(float), labels


def solve(states, labels, strength):
    """Logits of all samples at the least of sum nll + ridge."""
    scale = states.std(axis=0) * numpy.sqrt(states.shape[1])
    x = numpy.hstack([(states - states.mean(axis=0)) / scale, numpy.ones((SAMPLES, 1))])
    d = x.shape[1]
    ridge = numpy.full(d, strength)
    ridge[-1] = BIAS_STRENGTH
    w = numpy.zeros((LABELS, d))
    right = numpy.eye(LABELS)[labels]
    for _ in range(200):
        p = numpy.exp(x @ w.T)
        p /= p.sum(axis=1, keepdims=True)
        gradient = (p - right).T @ x + ridge * w
        hessian = numpy.zeros((LABELS * d, LABELS * d))
        for a in range(LABELS):
            for b in range(LABELS):
                weight = p[:, a] * ((a == b) - p[:, b])
                hessian[a * d : a * d + d, b * d : b * d + d] = (x.T * weight) @ x
        hessian += numpy.diag(numpy.tile(ridge, LABELS))
        step = numpy.linalg.solve(hessian, gradient.ravel()).reshape(LABELS, d)
        w -= step
        if abs(step).max() < 1e-12:
            break
    return x @ w.T


def main():
    print("/* Made by tests/unit/head_reference.py: logits at the least of loss and ridge. */")
    print("#ifndef HEAD_REFERENCE_H\n#define HEAD_REFERENCE_H\n\n#include <stddef.h>\n")
    print(f"#define REFERENCE_SAMPLES {SAMPLES}\n#define REFERENCE_LABELS {LABELS}\n")
    print("static const struct reference {\n    const char *name;\n    size_t width;")
    print("    double strength;")
    print("    double logits[REFERENCE_SAMPLES][REFERENCE_LABELS];\n} references[] = {")
    for name, width, strength in CASES:
        states, labels = make(width)
        print(f'    {{"{name}", {width}, {strength},\n     {{')
        for row in solve(states, labels, strength):
            print("      {" + ", ".join(f"{z:.9f}" for z in row) + "},")
        print("     }},")
    print("};\n\n#endif")


main()
