/* What winograd.c and winograd_gradient.c share: tiles of a map, read and transformed.  Letters as in winograd.c. */
#ifndef WINOGRAD_H
#define WINOGRAD_H
#if defined(__x86_64__) && !defined(__clang__)
#pragma GCC target("tune=generic") /* tuned for AMD's Zen, GCC splits the sums' fused multiplications and additions */
#endif
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { WIDE = 8, PLACES = 16 }; /* floats in a vector, places of a tile; a file says how many tiles are a BLOCK */
#define INLINE static inline __attribute__((always_inline))
typedef float vec __attribute__((vector_size(4 * WIDE), aligned(4)));

typedef struct {
  long n, h, w, c, k, down, across; /* tiles in an image, each way */
} shape;

typedef struct {
  long n, top, left; /* image, first row and column of the outputs */
} tile;

INLINE vec load(const float *from) { return *(const vec *)from; }
INLINE void store(float *to, vec v) { *(vec *)to = v; }

INLINE tile tile_at(const shape *s, long index) {
  long row = index / s->across;
  return (tile){row / s->down, 2 * (row % s->down), 2 * (index % s->across)};
}

INLINE tile next(const shape *s, tile t) {
  t.left += 2;
  if (t.left < s->w) return t;
  t.left = 0, t.top += 2;
  return t.top < s->h ? t : (tile){t.n + 1, 0, 0};
}

/* Inputs around a tile, 4 x 4, of WIDE channels from `channel` on; 0 outside the image. */
INLINE void gather(const shape *s, const float *x, tile t, long channel, int inside, vec in[4][4]) {
  const float *corner = x + ((t.n * s->h + t.top - 1) * s->w + t.left - 1) * s->c + channel;
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 4; j++) {
      long row = t.top - 1 + i, column = t.left - 1 + j;
      int there = inside || (row >= 0 && row < s->h && column >= 0 && column < s->w);
      in[i][j] = there ? load(corner + (i * s->w + j) * s->c) : (vec){0};
    }
}

/* d = B' x B for one tile; inside: whether all its inputs lie in the image. */
INLINE void transform_tile(const shape *s, const float *x, tile place, int inside, float *d) {
  long step = BLOCK * s->c;
  for (long channel = 0; channel < s->c; channel += WIDE) {
    vec in[4][4], half[4][4];
    gather(s, x, place, channel, inside, in);
    for (int i = 0; i < 4; i++) {
      half[i][0] = in[i][0] - in[i][2];
      half[i][1] = in[i][1] + in[i][2];
      half[i][2] = in[i][2] - in[i][1];
      half[i][3] = in[i][1] - in[i][3];
    }
    for (int j = 0; j < 4; j++) {
      float *to = d + j * step + channel;
      store(to, half[0][j] - half[2][j]);
      store(to + 4 * step, half[1][j] + half[2][j]);
      store(to + 8 * step, half[2][j] - half[1][j]);
      store(to + 12 * step, half[1][j] - half[3][j]);
    }
  }
}

/* d = B' x B for the tiles from `first` on. */
static void transform_input(const shape *s, const float *x, long first, long count, float *d) {
  tile place = tile_at(s, first);
  for (long t = 0; t < count; t++, place = next(s, place), d += s->c) {
    int inside = place.top > 0 && place.left > 0 && place.top + 2 < s->h && place.left + 2 < s->w;
    if (inside)
      transform_tile(s, x, place, 1, d); /* a constant, so that this copy tests no borders */
    else
      transform_tile(s, x, place, 0, d);
  }
}
#endif
