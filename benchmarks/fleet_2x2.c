/* The 2-2-2 network of the benchmarks in plain C: one run after the other, a shared bias per layer, sigmoid, mean
   squared error, gradient descent; every gradient and loss is kept. Compiled with -O3 by bench.py. */

#include <math.h>

#define N 2

struct layer {
  float weight[N][N], bias;
};

static void forward(const struct layer *l, const float *a, float *out) {
  for (int o = 0; o < N; o++) {
    float z = l->bias;
    for (int i = 0; i < N; i++) z += l->weight[o][i] * a[i];
    out[o] = 1.0f / (1.0f + expf(-z));
  }
}

static void backward(const struct layer *l, const float *a, const float *out, const float *d, struct layer *gradient,
                     float *below) {
  gradient->bias = 0;
  for (int i = 0; i < N; i++) below[i] = 0;
  for (int o = 0; o < N; o++) {
    float delta = d[o] * (1 - out[o]) * out[o];
    gradient->bias += delta;
    for (int i = 0; i < N; i++) {
      gradient->weight[o][i] = delta * a[i];
      below[i] += l->weight[o][i] * delta;
    }
  }
}

/* start [10] and end [runs, 10]: both layers; gradients [runs, epochs, 10], losses [runs, epochs] */
void train(int runs, int epochs, const float *lr, const float *start, float *gradients, float *losses, float *end) {
  const float x[N] = {0.05f, 0.10f}, y[N] = {0.01f, 0.99f};
  for (int r = 0; r < runs; r++) {
    float *p = end + 10 * r;
    for (int i = 0; i < 10; i++) p[i] = start[i];
    struct layer *layers = (struct layer *)p;
    for (int e = 0; e < epochs; e++) {
      long step = (long)r * epochs + e;
      struct layer *gradient = (struct layer *)(gradients + 10 * step);
      float h[N], o[N], d[N], below[N], loss = 0;
      forward(&layers[0], x, h);
      forward(&layers[1], h, o);
      for (int i = 0; i < N; i++) {
        d[i] = o[i] - y[i];
        loss += d[i] * d[i];
      }
      losses[step] = loss / N;
      backward(&layers[1], h, o, d, &gradient[1], below);
      backward(&layers[0], x, h, below, &gradient[0], d);
      for (int i = 0; i < 10; i++) p[i] -= lr[r] * gradients[10 * step + i];
    }
  }
}
