/* 3 x 3 convolutions of float maps, channels last, stride 1, padding 1, by Winograd's minimal filtering F(2x2, 3x3):
   a tile of 2 x 2 outputs takes 16 products per pair of channels instead of 36.  Lavin & Gray, arXiv:1509.09308, 4.1.

   An output is computed in the same order whatever tiles lie beside it: threads and batches do not change its bits.

   n images · h, w their size · c channels of the input, a multiple of WIDE · k of the output, of 2 * WIDE
   p = 4 * i + j a place in a transformed tile · of a block: d transformed tiles (p, t, c), u transformed weight
   (p, c, k), m their products (p, t, k) */
enum { BLOCK = 12, ROWS = 6 }; /* tiles whose places fit into the first cache, whose sums fit into registers */
#include "winograd.h"

/* m = d u at every place. */
static void multiply(const shape *s, const float *d, const float *u, float *m) {
  long c = s->c, k = s->k;
  for (long p = 0; p < PLACES; p++, d += BLOCK * c, u += c * k, m += BLOCK * k)
    for (long at = 0; at < k; at += 2 * WIDE)
      for (long t = 0; t < BLOCK; t += ROWS) {
        vec sum[ROWS][2] = {0};
        for (long channel = 0; channel < c; channel++) {
          vec low = load(u + channel * k + at), high = load(u + channel * k + at + WIDE);
          for (int r = 0; r < ROWS; r++) {
            sum[r][0] += low * d[(t + r) * c + channel];
            sum[r][1] += high * d[(t + r) * c + channel];
          }
        }
        for (int r = 0; r < ROWS; r++) {
          store(m + (t + r) * k + at, sum[r][0]);
          store(m + (t + r) * k + at + WIDE, sum[r][1]);
        }
      }
}

/* y = relu?(A' m A + bias? + shortcut?) for the tiles from `first` on. */
static void transform_output(const shape *s, const float *m, const float *bias, const float *shortcut, int act,
                             long first, long count, float *y) {
  long step = BLOCK * s->k;
  float floor = act ? 0 : -INFINITY;
  tile place = tile_at(s, first);
  for (long t = 0; t < count; t++, place = next(s, place)) {
    for (long channel = 0; channel < s->k; channel += WIDE, m += WIDE) {
      vec half[2][4], start = bias ? load(bias + channel) : (vec){0};
      for (int j = 0; j < 4; j++) {
        vec a = load(m + j * step), b = load(m + (4 + j) * step), c = load(m + (8 + j) * step);
        half[0][j] = a + b + c;
        half[1][j] = b - c - load(m + (12 + j) * step);
      }
      for (int i = 0; i < 2 && place.top + i < s->h; i++)
        for (int j = 0; j < 2 && place.left + j < s->w; j++) {
          long at = ((place.n * s->h + place.top + i) * s->w + place.left + j) * s->k + channel;
          vec *r = half[i], sum = start + (j ? r[1] - r[2] - r[3] : r[0] + r[1] + r[2]);
          if (shortcut) sum += load(shortcut + at);
          for (int l = 0; l < WIDE; l++) y[at + l] = sum[l] < floor ? floor : sum[l];
        }
    }
  }
}

/* y (n, h, w, k) = relu?(x (n, h, w, c) * weight + bias? + shortcut?), u the transformed weight. */
void convolve(const float *x, const float *u, const float *bias, const float *shortcut, int act, long n, long h, long w,
              long c, long k, float *y) {
  shape s = {n, h, w, c, k, (h + 1) / 2, (w + 1) / 2};
  long tiles = n * s.down * s.across;
  _Pragma("omp parallel") {
    float *d = calloc(PLACES * BLOCK * (c + k), sizeof(float)), *m = d + PLACES * BLOCK * c;
    _Pragma("omp for schedule(static)") for (long first = 0; first < tiles; first += BLOCK) {
      long count = tiles - first < BLOCK ? tiles - first : BLOCK;
      transform_input(&s, x, first, count, d);
      multiply(&s, d, u, m);
      transform_output(&s, m, bias, shortcut, act, first, count, y);
    }
    free(d);
  }
}

/* Of WIDE outputs, from `corner` on, the part of u for one input; u is at its first place. */
INLINE void transform_corner(const float *corner, long by_k, long by_row, long by_column, long step, float *u) {
  vec g[3] = {0}, half[4][3];
  for (int j = 0; j < 3; j++) {
    for (int i = 0; i < 3; i++)
      for (int l = 0; l < WIDE; l++) g[i][l] = corner[l * by_k + i * by_row + j * by_column];
    half[0][j] = g[0];
    half[1][j] = (g[0] + g[1] + g[2]) / 2;
    half[2][j] = (g[0] - g[1] + g[2]) / 2;
    half[3][j] = g[2];
  }
  for (int i = 0; i < 4; i++, u += 4 * step) {
    vec *r = half[i];
    store(u, r[0]);
    store(u + step, (r[0] + r[1] + r[2]) / 2);
    store(u + 2 * step, (r[0] - r[1] + r[2]) / 2);
    store(u + 3 * step, r[2]);
  }
}

/* u = G weight G', the weight of c inputs and k outputs read by steps along k, c, rows and columns. */
void transform_weight(const float *weight, long by_k, long by_c, long by_row, long by_column, long c, long k,
                      float *u) {
  _Pragma("omp parallel for schedule(static)") for (long first = 0; first < c; first += WIDE)
    for (long to = 0; to < k; to += WIDE)
      for (long from = first; from < first + WIDE; from++) /* inputs lie beside each other: a line is read once */
        transform_corner(weight + to * by_k + from * by_c, by_k, by_row, by_column, c * k, u + from * k + to);
}
