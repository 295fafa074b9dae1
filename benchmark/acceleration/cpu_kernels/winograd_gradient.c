/* The gradient of the weight of a 3 x 3 convolution, by the transformed tiles of `winograd.c`: 16 products per tile and
   pair of channels instead of 36.  Threads sum their own tiles, and the sums are added in order: equal inputs on
   equally many threads give equal bits.

   e transformed gradients (p, t, k) of a block · sums (p, c, k) of their products with d · other letters as there */
enum { BLOCK = 36, GROUP = 4 }; /* tiles between two visits to the sums, input channels whose sums fit into registers */
#include "winograd.h"

/* e = A dy A' for the tiles from `first` on. */
static void transform_gradient(const shape *s, const float *dy, long first, long count, float *e) {
  long step = BLOCK * s->k;
  tile place = tile_at(s, first);
  for (long t = 0; t < count; t++, place = next(s, place)) {
    const float *corner = dy + ((place.n * s->h + place.top) * s->w + place.left) * s->k;
    int two_rows = place.top + 1 < s->h, two_columns = place.left + 1 < s->w;
    for (long channel = 0; channel < s->k; channel += WIDE, corner += WIDE) {
      vec zero = {0}, half[4][2];
      for (int j = 0; j < 2; j++) {
        int there = j == 0 || two_columns;
        vec up = there ? load(corner + j * s->k) : zero;
        vec low = there && two_rows ? load(corner + (s->w + j) * s->k) : zero;
        half[0][j] = up, half[1][j] = up + low, half[2][j] = up - low, half[3][j] = -low;
      }
      for (int i = 0; i < 4; i++) {
        vec *r = half[i];
        float *to = e + 4 * i * step + t * s->k + channel;
        store(to, r[0]);
        store(to + step, r[0] + r[1]);
        store(to + 2 * step, r[0] - r[1]);
        store(to + 3 * step, -r[1]);
      }
    }
  }
}

/* Adds d' e of `count` tiles to the sums at every place. */
static void accumulate(const shape *s, const float *d, const float *e, long count, float *sums) {
  long c = s->c, k = s->k;
  for (long p = 0; p < PLACES; p++, d += BLOCK * c, e += BLOCK * k, sums += c * k)
    for (long at = 0; at < k; at += 2 * WIDE)
      for (long channel = 0; channel < c; channel += GROUP) {
        vec sum[GROUP][2];
        float *own = sums + channel * k + at;
        for (int r = 0; r < GROUP; r++) sum[r][0] = load(own + r * k), sum[r][1] = load(own + r * k + WIDE);
        for (long t = 0; t < count; t++) {
          vec low = load(e + t * k + at), high = load(e + t * k + at + WIDE);
          for (int r = 0; r < GROUP; r++) {
            sum[r][0] += low * d[t * c + channel + r];
            sum[r][1] += high * d[t * c + channel + r];
          }
        }
        for (int r = 0; r < GROUP; r++) store(own + r * k, sum[r][0]), store(own + r * k + WIDE, sum[r][1]);
      }
}

/* dweight = G' (sum of the threads' sums) G, from one input to WIDE outputs; `step` from one place to the next. */
static void transform_sums(const float *sums, int threads, long step, long by_k, long by_row, long by_column,
                           float *to) {
  vec half[3][4];
  for (int j = 0; j < 4; j++) {
    vec r[4] = {0};
    for (int i = 0; i < 4; i++)
      for (long thread = 0; thread < threads; thread++) r[i] += load(sums + (thread * PLACES + 4 * i + j) * step);
    half[0][j] = r[0] + (r[1] + r[2]) / 2;
    half[1][j] = (r[1] - r[2]) / 2;
    half[2][j] = (r[1] + r[2]) / 2 + r[3];
  }
  for (int i = 0; i < 3; i++, to += by_row) {
    vec *r = half[i], g[3] = {r[0] + (r[1] + r[2]) / 2, (r[1] - r[2]) / 2, (r[1] + r[2]) / 2 + r[3]};
    for (int j = 0; j < 3; j++)
      for (int l = 0; l < WIDE; l++) to[l * by_k + j * by_column] = g[j][l];
  }
}

/* dweight, written by steps along k, c, rows and columns, from the input x (n, h, w, c) and dy (n, h, w, k). */
void weight_gradient(const float *x, const float *dy, long n, long h, long w, long c, long k, float *dweight, long by_k,
                     long by_c, long by_row, long by_column) {
  shape s = {n, h, w, c, k, (h + 1) / 2, (w + 1) / 2};
  long tiles = n * s.down * s.across;
  int threads = omp_get_max_threads();
  float *sums = calloc((size_t)threads * PLACES * c * k, sizeof(float));
  _Pragma("omp parallel num_threads(threads)") {
    float *own = sums + (size_t)omp_get_thread_num() * PLACES * c * k;
    float *d = malloc(PLACES * BLOCK * (c + k) * sizeof(float)), *e = d + PLACES * BLOCK * c;
    _Pragma("omp for schedule(static)") for (long first = 0; first < tiles; first += BLOCK) {
      long count = tiles - first < BLOCK ? tiles - first : BLOCK;
      transform_input(&s, x, first, count, d);
      transform_gradient(&s, dy, first, count, e);
      accumulate(&s, d, e, count, own);
    }
    free(d);
    _Pragma("omp for schedule(static)") for (long from = 0; from < c; from++)
      for (long to = 0; to < k; to += WIDE)
        transform_sums(sums + from * k + to, threads, c * k, by_k, by_row, by_column,
                       dweight + to * by_k + from * by_c);
  }
  free(sums);
}
