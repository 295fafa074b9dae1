/* 3 x 3 convolutions of float maps, channels last, stride 1, padding 1, by Winograd's minimal filtering F(2x2, 3x3):
   each tile of 2 x 2 outputs takes 16 products per pair of channels instead of 36.  Lavin & Gray, arXiv:1509.09308, 4.1.

   An output is computed in the same order whatever tiles lie beside it, so neither threads nor batches change its bits.

   n images · h, w their size · c channels of the input, a multiple of WIDE · k of the output, of 2 * WIDE · p = 4 * i + j
   a place in a transformed tile · d, u, m transformed tiles (p, t, c), weight (p, c, k), products (p, t, k) of a block */
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { WIDE = 8, PLACES = 16 }; /* floats in a vector, places of a tile */
enum { ROWS = 6, BLOCK = 12 };  /* tiles whose sums fit into registers, tiles of a block, whose places fit into a cache */
typedef float vec __attribute__((vector_size(4 * WIDE), aligned(4)));

typedef struct {
  long n, h, w, c, k, down, across; /* tiles in an image, each way */
} shape;

typedef struct {
  long n, top, left; /* image, first row and column of the outputs */
} tile;

static inline vec load(const float *from) { return *(const vec *)from; }
static inline void store(float *to, vec v) { *(vec *)to = v; }

static inline tile tile_at(const shape *s, long index) {
  long row = index / s->across;
  return (tile){row / s->down, 2 * (row % s->down), 2 * (index % s->across)};
}

/* Inputs around a tile, 4 x 4, of WIDE channels from `channel` on; 0 outside the image. */
static inline void gather(const shape *s, const float *x, tile t, long channel, vec in[4][4]) {
  const float *corner = x + ((t.n * s->h + t.top - 1) * s->w + t.left - 1) * s->c + channel;
  int inside = t.top > 0 && t.left > 0 && t.top + 2 < s->h && t.left + 2 < s->w;
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      long row = t.top - 1 + i, column = t.left - 1 + j;
      int there = inside || (row >= 0 && row < s->h && column >= 0 && column < s->w);
      in[i][j] = there ? load(corner + (i * s->w + j) * s->c) : (vec){0};
    }
}

/* d = B' x B for the tiles from `first` on. */
static void transform_input(const shape *s, const float *x, long first, long count, float *d) {
  long step = BLOCK * s->c;
  for (long t = 0; t < count; t++)
    for (long channel = 0; channel < s->c; channel += WIDE) {
      vec in[4][4], half[4][4];
      gather(s, x, tile_at(s, first + t), channel, in);
      for (int j = 0; j < 4; j++) {
        half[0][j] = in[0][j] - in[2][j];
        half[1][j] = in[1][j] + in[2][j];
        half[2][j] = in[2][j] - in[1][j];
        half[3][j] = in[1][j] - in[3][j];
      }
      for (int i = 0; i < 4; i++) {
        vec *r = half[i];
        float *to = d + 4 * i * step + t * s->c + channel;
        store(to, r[0] - r[2]);
        store(to + step, r[1] + r[2]);
        store(to + 2 * step, r[2] - r[1]);
        store(to + 3 * step, r[1] - r[3]);
      }
    }
}

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
  for (long t = 0; t < count; t++) {
    tile place = tile_at(s, first + t);
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
static inline void transform_corner(const float *corner, long by_k, long by_row, long by_column, long step, float *u) {
  vec g[3], half[4][3];
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

/* u = G weight G', the weight of c inputs and k outputs read by steps from one to the next along k, c, rows, columns. */
void transform_weight(const float *weight, long by_k, long by_c, long by_row, long by_column, long c, long k, float *u) {
  _Pragma("omp parallel for schedule(static)") for (long first = 0; first < c; first += WIDE)
    for (long to = 0; to < k; to += WIDE)
      for (long from = first; from < first + WIDE; from++) /* inputs lie beside each other: a line is read once */
        transform_corner(weight + to * by_k + from * by_c, by_k, by_row, by_column, c * k, u + from * k + to);
}
