/* Batch normalisation in training, with residual sum and ReLU, on channels-last maps: one pass to measure, one to
   apply, in each direction.  Sums are kept in float over RUN tiles and in double beyond; threads' sums are added in
   order, so equal inputs on equally many threads give equal bits.

   The second half of this file is compiled twice, for maps in bfloat16 and in float: forward_bf16, forward_float, ...

   m rows (images x pixels) · c channels · a tile is a few whole rows, long enough for wide instructions · n its length
 */
#ifndef TYPE
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint16_t bf16;
enum { RUN = 64 };

static inline float wide_float(float v) { return v; }
static inline float narrow_float(float v) { return v; }

static inline float wide_bf16(bf16 v) {
  uint32_t bits = (uint32_t)v << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static inline bf16 narrow_bf16(float f) { /* to nearest, ties to even; what is not a number stays so */
  uint32_t bits;
  memcpy(&bits, &f, 4);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return f != f ? 0x7fc0 : (bf16)rounded;
}

/* The gradient that a ReLU with output `y` lets through; all of it unless `act`. */
static inline float passed_float(float dy, float y, int act) { return y <= (act ? 0 : -INFINITY) ? 0 : dy; }
static inline bf16 passed_bf16(bf16 dy, bf16 y, int act) { return (y | (act ? 0 : 0xffff)) ? dy : 0; }

static long tile_length(long c) { return c * (c < 256 ? 256 / c : 1); }

static void repeat(float *restrict to, const float *restrict from, long c, long n) {
  for (long i = 0; i < n; i++) to[i] = from[i % c];
}

/* Sums per channel of first(i) and second(i) over all m x c elements, into sums[0..c) and sums[c..2c). */
#define SUM_UP(FIRST, SECOND)                                                              \
  {                                                                                        \
    int threads = omp_get_max_threads();                                                   \
    double *each = calloc((size_t)threads * 2 * c, sizeof(double));                        \
    _Pragma("omp parallel num_threads(threads)") {                                         \
      double *own = each + (size_t)omp_get_thread_num() * 2 * c;                           \
      float *run = calloc(2 * n, sizeof(float));                                           \
      long tiles = (m * c + n - 1) / n, runs = (tiles + RUN - 1) / RUN;                    \
      _Pragma("omp for schedule(static)") for (long part = 0; part < runs; part++) {       \
        long last = (part + 1) * RUN < tiles ? (part + 1) * RUN : tiles;                   \
        for (long t = part * RUN; t < last; t++) {                                         \
          long o = t * n, left = m * c - o, length = left < n ? left : n;                  \
          _Pragma("omp simd") for (long i = 0; i < length; i++) {                          \
            float first = FIRST, second = SECOND;                                          \
            run[i] += first;                                                               \
            run[n + i] += second;                                                          \
          }                                                                                \
        }                                                                                  \
        for (long i = 0; i < n; i++) own[i % c] += run[i], own[c + i % c] += run[n + i];   \
        memset(run, 0, 2 * n * sizeof(float));                                             \
      }                                                                                    \
      free(run);                                                                           \
    }                                                                                      \
    for (int t = 0; t < threads; t++)                                                      \
      for (long k = 0; k < 2 * c; k++) sums[k] += each[(size_t)t * 2 * c + k];             \
    free(each);                                                                            \
  }

/* STATEMENT for every element o + i, i counting within its tile. */
#define APPLY(STATEMENT)                                                                   \
  _Pragma("omp parallel for schedule(static)") for (long o = 0; o < m * c; o += n) {       \
    long left = m * c - o, length = left < n ? left : n;                                   \
    _Pragma("omp simd") for (long i = 0; i < length; i++) STATEMENT;                       \
  }

#define JOIN(name, type) name##_##type
#define FOR(name, type) JOIN(name, type)
#define wide FOR(wide, TYPE)
#define narrow FOR(narrow, TYPE)
#define passed FOR(passed, TYPE)

#define TYPE bf16
#include __FILE__
#undef TYPE
#define TYPE float
#include __FILE__
#else /* ---- for each TYPE */

/* y = relu?((x - mean) / sd * w + b + shortcut?); mean and 1 / sd are kept, running statistics moved. */
void FOR(forward, TYPE)(const TYPE *restrict x, const TYPE *restrict shortcut, const float *w, const float *b,
                        float *running_mean, float *running_var, float momentum, float eps, int act, long m, long c,
                        TYPE *restrict y, float *mean, float *inverse) {
  long n = tile_length(c);
  double *sums = calloc(2 * c, sizeof(double));
  float *channel = malloc(3 * c * sizeof(float)), *tile = malloc(3 * n * sizeof(float));
  float *scale = tile, *shift = tile + n, *near = tile + 2 * n, *pivot = channel + 2 * c;
  /* In float, squares of what is far from 0 would round the variance away: a value of each channel is taken off. */
  const int shifted = sizeof(TYPE) == sizeof(float);
  for (long k = 0; k < c; k++) pivot[k] = shifted ? wide(x[k]) : 0;
  repeat(near, pivot, c, n);
  SUM_UP(wide(x[o + i]) - (shifted ? near[i] : 0), first * first)
  for (long k = 0; k < c; k++) {
    double mu = sums[k] / m, var = sums[c + k] / m - mu * mu;
    var = var < 0 ? 0 : var;
    mu += pivot[k];
    mean[k] = (float)mu;
    inverse[k] = (float)(1 / sqrt(var + eps));
    running_mean[k] += momentum * ((float)mu - running_mean[k]);
    running_var[k] += momentum * ((float)(m > 1 ? var * m / (m - 1) : var) - running_var[k]);
    channel[k] = w[k] * inverse[k];
    channel[c + k] = b[k] - mean[k] * channel[k];
  }
  repeat(scale, channel, c, n);
  repeat(shift, channel + c, c, n);
  float floor = act ? 0 : -INFINITY;
  if (shortcut) {
    APPLY({
      float v = wide(x[o + i]) * scale[i] + shift[i] + wide(shortcut[o + i]);
      y[o + i] = narrow(v < floor ? floor : v);
    })
  } else {
    APPLY({
      float v = wide(x[o + i]) * scale[i] + shift[i];
      y[o + i] = narrow(v < floor ? floor : v);
    })
  }
  free(sums);
  free(channel);
  free(tile);
}

/* From dy to dx, dw, db and, where there was a shortcut, its gradient.  `y` decides where the ReLU let through. */
void FOR(backward, TYPE)(const TYPE *restrict dy, const TYPE *restrict y, const TYPE *restrict x, const float *w,
                         const float *mean, const float *inverse, int act, long m, long c, TYPE *restrict dx,
                         TYPE *restrict dshortcut, float *dw, float *db) {
  long n = tile_length(c);
  double *sums = calloc(2 * c, sizeof(double));
  float *channel = malloc(3 * c * sizeof(float)), *tile = malloc(3 * n * sizeof(float));
  float *by_g = tile, *by_x = tile + n, *rest = tile + 2 * n, *middle = tile;
  repeat(middle, mean, c, n);
  SUM_UP(wide(passed(dy[o + i], y[o + i], act)), first *(wide(x[o + i]) - middle[i]))
  for (long k = 0; k < c; k++) {
    db[k] = (float)sums[k];
    dw[k] = (float)(sums[c + k] * inverse[k]);
    channel[k] = w[k] * inverse[k];
    channel[c + k] = -channel[k] * inverse[k] * dw[k] / m;
    channel[2 * c + k] = -channel[k] * db[k] / m - channel[c + k] * mean[k];
  }
  repeat(by_g, channel, c, n);
  repeat(by_x, channel + c, c, n);
  repeat(rest, channel + 2 * c, c, n);
  if (dshortcut) {
    APPLY({
      TYPE g = passed(dy[o + i], y[o + i], act);
      dshortcut[o + i] = g;
      dx[o + i] = narrow(wide(g) * by_g[i] + wide(x[o + i]) * by_x[i] + rest[i]);
    })
  } else {
    APPLY({
      TYPE g = passed(dy[o + i], y[o + i], act);
      dx[o + i] = narrow(wide(g) * by_g[i] + wide(x[o + i]) * by_x[i] + rest[i]);
    })
  }
  free(sums);
  free(channel);
  free(tile);
}
#endif
