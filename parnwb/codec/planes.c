/* Deflate for numbers, quickly. What comes out is one zlib stream (RFC 1950 and 1951) of the elements' bytes in the order
   of HDF5's shuffle filter: of all elements the first byte, then of all the second, and so on, each a plane.

   Numbers that were measured have planes of few kinds, and each block of a plane is treated as what it is:
     - noise in all eight bits is stored;
     - noise in some bits gets Huffman codes: there are no repetitions that would pay;
     - two values, such as the high bytes of small numbers, which are their signs: a bit each is what they are worth, and
       Huffman codes cannot do that, since the end of a block needs a code, too; so some of them in a row refer to where the
       same row was before;
     - all else is compared with what lies some fixed distances back: the element before, and the rows before.
   Bytes are taken from the elements directly, a block at a time, so everything happens in the processor's caches.

   No Python here: parnwb.codec.planes calls this through ctypes, without the interpreter's lock. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#define X86
#define WIDE __attribute__((target_clones("avx2", "default")))
#define VECTORS __attribute__((target("avx512f,avx512bw,avx512vbmi")))
#else
#define WIDE
#endif

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bits are collected in the order of little-endian machines"
#endif

enum {
    BLOCK = 1 << 17,        /* symbols that share a code: its description is then a thousandth of them */
    WINDOW = 1 << 15,       /* how far back deflate may refer */
    STORED = 65535,         /* bytes of a stored block */
    LITERALS = 257,         /* with the end of the block */
    SYMBOLS = 286,
    DISTANCES = 30,
    LENGTH_CODES = 19,
    LONGEST_CODE = 14,      /* four of them and a started byte fit into 64 bits */
    LONGEST_MATCH = 258,
    END = 256,
    MOST_DISTANCES = 3,
    GRAM = 12,              /* of two values: as many in a row have mostly been within the window, and rarely nearer */
    GRAMS = 1 << GRAM,
    LOOK_EVERY = 509,       /* bytes; a prime, so that rows are looked at everywhere */
    COUNT_EVERY = 127,      /* bytes, a prime for the same reason */
    COUNTED_TOGETHER = 32,
    LEAST_TO_SAMPLE = 1 << 14,
    SEEN = 57               /* marks, wherever in a byte the first one is */
};

typedef struct {
    uint8_t *out;
    uint64_t bits;
    unsigned count; /* below 8 between calls */
} Writer;

typedef struct {
    uint16_t code[SYMBOLS];
    uint8_t length[SYMBOLS];
} Code;

typedef struct {
    uint8_t bytes[WINDOW + BLOCK + 16];
    uint32_t tokens[BLOCK];
    uint8_t ones[BLOCK / 8 + 16], strange[BLOCK / 8 + 16]; /* a bit for each byte */
    uint8_t marks[MOST_DISTANCES][BLOCK / 8 + 16];         /* where it equals what lies back */
    uint32_t last[GRAMS];                                  /* where in the plane each began last */
    int one, other;                                        /* the two values that `last` speaks of */
} Scratch;

size_t parnwb_planes_scratch(void) { return sizeof(Scratch); }

/* A stream is never longer, for what does not shrink is stored; a block may be, until it has been found not to. */
size_t parnwb_planes_bound(size_t count, unsigned itemsize) {
    size_t blocks = (size_t)itemsize * (count / BLOCK + 1);
    return (size_t)itemsize * count + blocks * (5 * (BLOCK / STORED + 1) + 16) + 2 * BLOCK + 1024;
}

/* -- bits ------------------------------------------------------------------------------------------------- */

static inline uint64_t load64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return v; }

static inline void flush_bits(Writer *w) {
    memcpy(w->out, &w->bits, 8);
    w->out += w->count >> 3;
    w->bits >>= w->count & 56;
    w->count &= 7;
}

static inline void put(Writer *w, uint32_t value, unsigned count) { /* at most 32 at a time */
    w->bits |= (uint64_t)value << w->count;
    w->count += count;
    flush_bits(w);
}

static void align(Writer *w) {
    if (w->count & 7) put(w, 0, 8 - (w->count & 7));
}

/* -- Huffman codes ---------------------------------------------------------------------------------------- */

typedef struct { uint32_t weight; uint16_t symbol; } Leaf;

static void sort_leaves(Leaf *leaves, int n) { /* few and nearly in order from block to block: shell sort does */
    for (int gap = n / 2; gap; gap /= 2)
        for (int i = gap; i < n; i++) {
            Leaf leaf = leaves[i];
            int j = i;
            for (; j >= gap && leaves[j - gap].weight > leaf.weight; j -= gap) leaves[j] = leaves[j - gap];
            leaves[j] = leaf;
        }
}

/* Lengths of an optimal prefix code of at most `longest` bits, but for the little that limiting them costs. */
static void find_lengths(const uint32_t *weights, int n, int longest, uint8_t *lengths) {
    Leaf leaves[SYMBOLS];
    uint64_t sums[SYMBOLS];
    int parents[2 * SYMBOLS], depths[2 * SYMBOLS], used = 0, per_length[64] = {0};
    memset(lengths, 0, (size_t)n);
    for (int s = 0; s < n; s++)
        if (weights[s]) leaves[used++] = (Leaf){weights[s], (uint16_t)s};
    if (used == 0) return;
    if (used == 1) {
        lengths[leaves[0].symbol] = 1;
        return;
    }
    sort_leaves(leaves, used);
    int leaf = 0, node = 0, made = 0; /* nodes: leaves first, then sums, both by weight */
    for (; made < used - 1; made++) {
        uint64_t sum = 0;
        for (int k = 0; k < 2; k++) {
            int take_leaf = leaf < used && (node >= made || leaves[leaf].weight <= sums[node]);
            if (take_leaf) { sum += leaves[leaf].weight; parents[leaf++] = used + made; }
            else { sum += sums[node]; parents[used + node++] = used + made; }
        }
        sums[made] = sum;
    }
    depths[2 * used - 2] = 0;
    for (int i = 2 * used - 3; i >= 0; i--) {
        depths[i] = depths[parents[i]] + 1;
        if (i < used) per_length[depths[i] > 63 ? 63 : depths[i]]++;
    }
    for (int d = 63; d > longest; d--) { per_length[longest] += per_length[d]; per_length[d] = 0; }
    uint64_t kraft = 0;
    for (int d = 1; d <= longest; d++) kraft += (uint64_t)per_length[d] << (longest - d);
    for (; kraft > (1ull << longest); kraft--) { /* one from the limit joins the longest that is shorter, as a pair */
        int d = longest - 1;
        while (!per_length[d]) d--;
        per_length[d]--;
        per_length[d + 1] += 2;
        per_length[longest]--;
    }
    int next = 0;
    for (int d = longest; d >= 1; d--)
        for (int k = 0; k < per_length[d]; k++) lengths[leaves[next++].symbol] = (uint8_t)d;
}

static void assign_codes(Code *code, int n) {
    unsigned per_length[16] = {0}, next[17] = {0};
    for (int s = 0; s < n; s++) per_length[code->length[s]]++;
    per_length[0] = 0;
    for (int d = 1; d < 16; d++) next[d + 1] = (next[d] + per_length[d]) << 1;
    for (int s = 0; s < n; s++) {
        unsigned length = code->length[s], value = length ? next[length]++ : 0, turned = 0;
        for (unsigned b = 0; b < length; b++) turned |= ((value >> b) & 1u) << (length - 1 - b);
        code->code[s] = (uint16_t)turned;
    }
}

static void make_code(const uint32_t *weights, int n, Code *code) {
    find_lengths(weights, n, LONGEST_CODE, code->length);
    assign_codes(code, n);
}

/* -- what a block begins with: its codes --------------------------------------------------------------------- */

typedef struct { uint8_t symbol, extra, bits; } Step;

static int run_lengths(const uint8_t *lengths, int n, Step *steps) {
    int made = 0;
    for (int i = 0; i < n;) {
        int run = 1;
        while (i + run < n && lengths[i + run] == lengths[i]) run++;
        if (lengths[i] == 0 && run >= 3) {
            int take = run > 138 ? 138 : run;
            steps[made++] = take > 10 ? (Step){18, (uint8_t)(take - 11), 7} : (Step){17, (uint8_t)(take - 3), 3};
            i += take;
        } else if (run >= 4) {
            int take = run - 1 > 6 ? 6 : run - 1;
            steps[made++] = (Step){lengths[i], 0, 0};
            steps[made++] = (Step){16, (uint8_t)(take - 3), 2};
            i += take + 1;
        } else {
            steps[made++] = (Step){lengths[i], 0, 0};
            i++;
        }
    }
    return made;
}

typedef struct {
    Code literals, distances, lengths;
    Step steps[SYMBOLS + DISTANCES];
    int n_steps, n_literals, n_distances, n_lengths;
    uint64_t cost; /* in bits, of the header and of all symbols, without extra bits of matches */
} Codes;

static const uint8_t ORDER[LENGTH_CODES] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

static void make_codes(const uint32_t *literals, const uint32_t *distances, Codes *codes) {
    uint8_t all[SYMBOLS + DISTANCES];
    uint32_t weights[LENGTH_CODES] = {0};
    make_code(literals, SYMBOLS, &codes->literals);
    make_code(distances, DISTANCES, &codes->distances);
    codes->n_literals = SYMBOLS;
    while (codes->n_literals > LITERALS && !codes->literals.length[codes->n_literals - 1]) codes->n_literals--;
    codes->n_distances = DISTANCES;
    while (codes->n_distances > 1 && !codes->distances.length[codes->n_distances - 1]) codes->n_distances--;
    memcpy(all, codes->literals.length, (size_t)codes->n_literals);
    memcpy(all + codes->n_literals, codes->distances.length, (size_t)codes->n_distances);
    codes->n_steps = run_lengths(all, codes->n_literals + codes->n_distances, codes->steps);
    for (int i = 0; i < codes->n_steps; i++) weights[codes->steps[i].symbol]++;
    find_lengths(weights, LENGTH_CODES, 7, codes->lengths.length);
    assign_codes(&codes->lengths, LENGTH_CODES);
    codes->n_lengths = LENGTH_CODES;
    while (codes->n_lengths > 4 && !codes->lengths.length[ORDER[codes->n_lengths - 1]]) codes->n_lengths--;
    codes->cost = 17 + 3 * (uint64_t)codes->n_lengths;
    for (int i = 0; i < codes->n_steps; i++)
        codes->cost += codes->lengths.length[codes->steps[i].symbol] + codes->steps[i].bits;
    for (int s = 0; s < SYMBOLS; s++) codes->cost += (uint64_t)literals[s] * codes->literals.length[s];
    for (int s = 0; s < DISTANCES; s++) codes->cost += (uint64_t)distances[s] * codes->distances.length[s];
}

static void put_codes(Writer *w, const Codes *codes) {
    put(w, 4, 3); /* not the last block; dynamic codes */
    put(w, (uint32_t)(codes->n_literals - 257), 5);
    put(w, (uint32_t)(codes->n_distances - 1), 5);
    put(w, (uint32_t)(codes->n_lengths - 4), 4);
    for (int i = 0; i < codes->n_lengths; i++) put(w, codes->lengths.length[ORDER[i]], 3);
    for (int i = 0; i < codes->n_steps; i++) {
        Step step = codes->steps[i];
        put(w, codes->lengths.code[step.symbol], codes->lengths.length[step.symbol]);
        if (step.bits) put(w, step.extra, step.bits);
    }
}

/* -- the bytes of a block ------------------------------------------------------------------------------------ */

static void put_stored(Writer *w, const uint8_t *bytes, size_t n) {
    while (n) {
        size_t part = n > STORED ? STORED : n;
        put(w, 0, 3);
        align(w);
        put(w, (uint32_t)part | ((uint32_t)(part ^ 0xffff) << 16), 32);
        memcpy(w->out, bytes, part);
        w->out += part;
        bytes += part;
        n -= part;
    }
}

/* Bits of four literals, or of eight where they fit, are put together before they are written. */
static void put_literals_singly(Writer *w, const Code *code, const uint8_t *bytes, size_t n) {
    uint32_t table[256]; /* code, and its length above it */
    for (int s = 0; s < 256; s++) table[s] = code->code[s] | ((uint32_t)code->length[s] << 16);
    Writer own = *w;
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        uint32_t a = table[bytes[i]], b = table[bytes[i + 1]], c = table[bytes[i + 2]], d = table[bytes[i + 3]];
        unsigned first = a >> 16, second = c >> 16, half = first + (b >> 16);
        uint64_t low = (a & 0xffff) | ((uint64_t)(b & 0xffff) << first);
        uint64_t high = (c & 0xffff) | ((uint64_t)(d & 0xffff) << second);
        own.bits |= (low | high << half) << own.count;
        own.count += half + second + (d >> 16);
        flush_bits(&own);
    }
    *w = own;
    for (; i < n; i++) put(w, code->code[bytes[i]], code->length[bytes[i]]);
}

#ifdef X86
typedef struct { __m512i part[4]; } Table; /* of 256 bytes */

VECTORS static inline Table load_table(const uint8_t *values) {
    return (Table){{_mm512_loadu_si512(values), _mm512_loadu_si512(values + 64), _mm512_loadu_si512(values + 128),
                    _mm512_loadu_si512(values + 192)}};
}

VECTORS static inline __m512i look_up(const Table *table, __m512i index) {
    __m512i low = _mm512_permutex2var_epi8(table->part[0], index, table->part[1]);
    __m512i high = _mm512_permutex2var_epi8(table->part[2], index, table->part[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index), low, high);
}

/* In each 64 bits: four codes of 16 bits one after another without gaps, and the sum of their lengths. */
VECTORS static inline void join_four(__m512i *codes, __m512i *lengths) {
    const __m512i low16 = _mm512_set1_epi32(0xffff), low32 = _mm512_set1_epi64(0xffffffff);
    __m512i first = _mm512_and_si512(*lengths, low16);
    __m512i two = _mm512_or_si512(_mm512_and_si512(*codes, low16),
                                  _mm512_sllv_epi32(_mm512_srli_epi32(*codes, 16), first));
    __m512i sums = _mm512_add_epi32(first, _mm512_srli_epi32(*lengths, 16));
    first = _mm512_and_si512(sums, low32);
    *codes = _mm512_or_si512(_mm512_and_si512(two, low32), _mm512_sllv_epi64(_mm512_srli_epi64(two, 32), first));
    *lengths = _mm512_add_epi64(first, _mm512_srli_epi64(sums, 32));
}

static inline void put_joined(Writer *w, uint64_t codes, uint64_t length) { /* at most 56 bits */
    w->bits |= codes << w->count;
    w->count += (unsigned)length;
    flush_bits(w);
}

VECTORS static void put_literals_by_64(Writer *w, const Code *code, const uint8_t *bytes, size_t n) {
    uint8_t lows[256], highs[256];
    for (int s = 0; s < 256; s++) { lows[s] = (uint8_t)code->code[s]; highs[s] = (uint8_t)(code->code[s] >> 8); }
    const Table low = load_table(lows), high = load_table(highs), length = load_table(code->length);
    const __m512i zero = _mm512_setzero_si512(), most = _mm512_set1_epi64(56);
    Writer own = *w;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        __m512i b = _mm512_loadu_si512(bytes + i);
        __m512i l = look_up(&low, b), h = look_up(&high, b), len = look_up(&length, b);
        __m512i codes[2] = {_mm512_unpacklo_epi8(l, h), _mm512_unpackhi_epi8(l, h)};
        __m512i lengths[2] = {_mm512_unpacklo_epi8(len, zero), _mm512_unpackhi_epi8(len, zero)};
        join_four(&codes[0], &lengths[0]);
        join_four(&codes[1], &lengths[1]);
        /* The first four and the second four of each eight, which lie in the order of the bytes now. */
        __m512i first = _mm512_unpacklo_epi64(codes[0], codes[1]), second = _mm512_unpackhi_epi64(codes[0], codes[1]);
        __m512i n_first = _mm512_unpacklo_epi64(lengths[0], lengths[1]);
        __m512i n_second = _mm512_unpackhi_epi64(lengths[0], lengths[1]);
        __m512i n_both = _mm512_add_epi64(n_first, n_second);
        uint64_t c[2][8], k[2][8];
        if (!_mm512_cmpgt_epu64_mask(n_both, most)) {
            _mm512_storeu_si512(c[0], _mm512_or_si512(first, _mm512_sllv_epi64(second, n_first)));
            _mm512_storeu_si512(k[0], n_both);
            for (int j = 0; j < 8; j++) put_joined(&own, c[0][j], k[0][j]);
        } else {
            _mm512_storeu_si512(c[0], first);
            _mm512_storeu_si512(c[1], second);
            _mm512_storeu_si512(k[0], n_first);
            _mm512_storeu_si512(k[1], n_second);
            for (int j = 0; j < 8; j++) { put_joined(&own, c[0][j], k[0][j]); put_joined(&own, c[1][j], k[1][j]); }
        }
    }
    *w = own;
    put_literals_singly(w, code, bytes + i, n - i);
}
#endif

static void put_literals(Writer *w, const Code *code, const uint8_t *bytes, size_t n) {
#ifdef X86
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw")) {
        put_literals_by_64(w, code, bytes, n);
        return;
    }
#endif
    put_literals_singly(w, code, bytes, n);
}

static void count_all(const uint8_t *bytes, size_t n, uint32_t *counts) {
    uint32_t part[4][256] = {{0}};
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t v = load64(bytes + i);
        part[0][v & 255]++; part[1][(v >> 8) & 255]++; part[2][(v >> 16) & 255]++; part[3][(v >> 24) & 255]++;
        part[0][(v >> 32) & 255]++; part[1][(v >> 40) & 255]++; part[2][(v >> 48) & 255]++; part[3][v >> 56]++;
    }
    for (; i < n; i++) part[0][bytes[i]]++;
    for (int s = 0; s < 256; s++) counts[s] = part[0][s] + part[1][s] + part[2][s] + part[3][s];
}

/* As if all had been counted, from a part that has bytes of every place in a row. */
static void count_some(const uint8_t *bytes, size_t n, uint32_t *counts) {
    uint32_t part[COUNTED_TOGETHER / 8][256] = {{0}};
    size_t counted = 0;
    for (size_t i = 0; i + COUNTED_TOGETHER <= n; i += COUNT_EVERY, counted += COUNTED_TOGETHER)
        for (int j = 0; j < COUNTED_TOGETHER; j += 8) {
            uint64_t v = load64(bytes + i + j);
            for (int k = 0; k < 4; k++) part[k][(v >> 8 * k) & 255]++;
            for (int k = 0; k < 4; k++) part[k][(v >> (32 + 8 * k)) & 255]++;
        }
    for (int s = 0; s < 256; s++)
        counts[s] = (uint32_t)((uint64_t)(part[0][s] + part[1][s] + part[2][s] + part[3][s]) * n / counted);
}

/* -- repetitions ---------------------------------------------------------------------------------------------- */

static const uint16_t LENGTH_BASE[29] = {3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59,
                                         67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t LENGTH_EXTRA[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};

static unsigned length_symbol(unsigned length) {
    if (length == LONGEST_MATCH) return 28;
    if (length < 11) return length - 3;
    unsigned l = length - 3, top = 31u - (unsigned)__builtin_clz(l);
    return 4 * (top - 1) + ((l >> (top - 2)) & 3);
}

static unsigned distance_symbol(unsigned distance, unsigned *extra, unsigned *bits) {
    unsigned d = distance - 1;
    if (d < 2) { *extra = *bits = 0; return d; }
    unsigned top = 31u - (unsigned)__builtin_clz(d);
    *bits = top - 1;
    *extra = d & ((1u << *bits) - 1);
    return 2 * top + ((d >> (top - 1)) & 1);
}

static inline unsigned common(const uint8_t *a, const uint8_t *b, unsigned limit) {
    unsigned n = 0;
    while (n + 8 <= limit) {
        uint64_t x, y;
        memcpy(&x, a + n, 8);
        memcpy(&y, b + n, 8);
        if (x != y) return n + ((unsigned)__builtin_ctzll(x ^ y) >> 3);
        n += 8;
    }
    while (n < limit && a[n] == b[n]) n++;
    return n;
}

/* A token is a literal, or a match: bit 31, the distance less one from bit 16, the length less three. */
#define MATCH(length, distance) (0x80000000u | ((uint32_t)((distance) - 1) << 16) | (uint32_t)((length) - 3))
#define TOKEN_DISTANCE(token) ((((token) >> 16) & 0x7fff) + 1)
#define TOKEN_LENGTH(token) (((token) & 0xffff) + 3)

typedef struct {
    uint32_t literals[SYMBOLS], distances[DISTANCES];
    uint64_t extra;
    size_t n;
} Tally;

static inline void add_match(Tally *t, uint32_t *tokens, unsigned length, unsigned distance) {
    unsigned extra, bits, s = length_symbol(length), d = distance_symbol(distance, &extra, &bits);
    t->literals[257 + s]++;
    t->distances[d]++;
    t->extra += LENGTH_EXTRA[s] + bits;
    tokens[t->n++] = MATCH(length, distance);
}
static inline void add_literal(Tally *t, uint32_t *tokens, uint8_t byte) {
    t->literals[byte]++;
    tokens[t->n++] = byte;
}

/* A bit for each byte that equals its counterpart. */
static void mark_equal(const uint8_t *a, const uint8_t *b, size_t n, uint8_t *marks) {
    size_t i = 0;
#ifdef X86
    for (; i + 16 <= n; i += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(a + i)), y = _mm_loadu_si128((const __m128i *)(b + i));
        uint16_t equal = (uint16_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, y));
        memcpy(marks + (i >> 3), &equal, 2);
    }
#endif
    for (; i < n; i += 8) {
        unsigned equal = 0;
        for (size_t j = 0; j < 8 && i + j < n; j++) equal |= (unsigned)(a[i + j] == b[i + j]) << j;
        marks[i >> 3] = (uint8_t)equal;
    }
    memset(marks + (n + 7) / 8, 0, 16);
}

static inline uint64_t marks_from(const uint8_t *marks, size_t i) {
    return (load64(marks + (i >> 3)) >> (i & 7)) & ((1ull << SEEN) - 1);
}

static inline uint64_t begins_run(uint64_t marks, unsigned length) { /* of 3 to 8 */
    uint64_t two = marks & (marks >> 1);
    return length == 3 ? two & (marks >> 2) : two & (two >> 2) & (two >> (length - 2)) & (two >> (length - 4));
}

static void find_repetitions(const uint8_t *bytes, size_t n, size_t before, const unsigned *distances, int n_distances,
                             unsigned least, Scratch *s, Tally *t) {
    size_t i = 0, farthest = 0;
    for (int k = 0; k < n_distances; k++) {
        if (distances[k] > farthest) farthest = distances[k];
        mark_equal(bytes, bytes - distances[k], n, s->marks[k]);
    }
    while (i < n && before + i < farthest) add_literal(t, s->tokens, bytes[i++]);
    while (i < n) {
        uint64_t marks[MOST_DISTANCES], begun = 0;
        for (int k = 0; k < n_distances; k++) {
            marks[k] = marks_from(s->marks[k], i);
            begun |= begins_run(marks[k], least);
        }
        unsigned literals = begun ? (unsigned)__builtin_ctzll(begun) : SEEN - least;
        for (size_t end = i + literals < n ? i + literals : n; i < end; i++) add_literal(t, s->tokens, bytes[i]);
        if (!begun) continue;
        unsigned best = 0, which = 0;
        for (int k = 0; k < n_distances; k++) {
            unsigned length = (unsigned)__builtin_ctzll(~(marks[k] >> literals));
            if (length > best) { best = length; which = distances[k]; }
        }
        if (literals + best == SEEN) {
            unsigned limit = n - i < LONGEST_MATCH ? (unsigned)(n - i) : LONGEST_MATCH;
            best += common(bytes + i + best, bytes + i + best - which, limit - best);
        }
        add_match(t, s->tokens, best, which);
        i += best;
    }
}

/* Bits for the bytes of whole eights: which are `other`, and which are neither that nor `one`. */
static void pack(const uint8_t *bytes, size_t n, uint8_t one, uint8_t other, uint8_t *ones, uint8_t *strange) {
    size_t i = 0;
#ifdef X86
    const __m128i all_one = _mm_set1_epi8((char)one), all_other = _mm_set1_epi8((char)other);
    for (; i + 16 <= n; i += 16) {
        __m128i values = _mm_loadu_si128((const __m128i *)(bytes + i)), is_other = _mm_cmpeq_epi8(values, all_other);
        uint16_t first = (uint16_t)_mm_movemask_epi8(is_other);
        uint16_t second = (uint16_t)~_mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(values, all_one), is_other));
        memcpy(ones + (i >> 3), &first, 2);
        memcpy(strange + (i >> 3), &second, 2);
    }
#endif
    for (; i < n; i += 8) {
        unsigned first = 0, second = 0;
        for (size_t j = 0; j < 8; j++) {
            first |= (unsigned)(bytes[i + j] == other) << j;
            second |= (unsigned)(bytes[i + j] != one && bytes[i + j] != other) << j;
        }
        ones[i >> 3] = (uint8_t)first;
        strange[i >> 3] = (uint8_t)second;
    }
}

static void find_grams(const uint8_t *bytes, size_t n, size_t position, uint8_t one, uint8_t other, Scratch *s, Tally *t) {
    uint8_t *ones = s->ones, *strange = s->strange;
    uint32_t *last = s->last, *tokens = s->tokens;
    size_t i = 0, whole = n & ~(size_t)7;
    pack(bytes, whole, one, other, ones, strange);
    memset(strange + (whole >> 3), 0xff, 16);
    memset(ones + (whole >> 3), 0, 16);
    while (i < whole) {
        uint64_t w = load64(ones + (i >> 3)) >> (i & 7), e = load64(strange + (i >> 3)) >> (i & 7);
        if (e & (GRAMS - 1)) { add_literal(t, tokens, bytes[i++]); continue; }
        uint32_t here = (uint32_t)(position + i), gram = w & (GRAMS - 1);
        uint32_t distance = here - last[gram];
        if (distance > WINDOW) {
            last[gram] = here;
            add_literal(t, tokens, bytes[i++]);
            continue;
        }
        unsigned length = GRAM;
        if (distance <= i) {
            size_t from = i - distance;
            uint64_t v = load64(ones + (from >> 3)) >> (from & 7), f = load64(strange + (from >> 3)) >> (from & 7);
            uint64_t differ = ((w ^ v) | e | f) | (1ull << 56);
            unsigned same = (unsigned)__builtin_ctzll(differ);
            if (same > 56) same = 56;
            if (same >= GRAM + 8) length = same;
        }
        if (length > 50) {
            unsigned limit = whole - i < LONGEST_MATCH ? (unsigned)(whole - i) : LONGEST_MATCH;
            if (limit > length) length += common(bytes + i + length, bytes + i + length - distance, limit - length);
        }
        if (!(e & ((1u << (2 * GRAM)) - 1)))
            for (int j = 0; j < GRAM; j++) last[(w >> j) & (GRAMS - 1)] = here + (uint32_t)j;
        else
            last[gram] = here;
        add_match(t, tokens, length, distance);
        i += length;
    }
    while (i < n) add_literal(t, tokens, bytes[i++]);
}

static void put_tokens(Writer *w, const Codes *codes, const uint32_t *tokens, size_t n) {
    uint32_t lengths[256], literals[256]; /* bits, and above them how many */
    for (unsigned l = 0; l < 256; l++) {
        unsigned s = length_symbol(l + 3), n_code = codes->literals.length[257 + s];
        lengths[l] = codes->literals.code[257 + s] | ((l + 3 - LENGTH_BASE[s]) << n_code) | (n_code + LENGTH_EXTRA[s]) << 20;
        literals[l] = codes->literals.code[l] | (uint32_t)codes->literals.length[l] << 20;
    }
    Writer own = *w;
    for (size_t i = 0; i < n; i++) {
        uint32_t token = tokens[i];
        if (!(token >> 31)) {
            uint32_t entry = literals[token];
            own.bits |= (uint64_t)(entry & 0xfffff) << own.count;
            own.count += entry >> 20;
            flush_bits(&own);
            continue;
        }
        unsigned extra, bits, d = distance_symbol(TOKEN_DISTANCE(token), &extra, &bits);
        uint32_t entry = lengths[token & 0xff];
        unsigned n_low = entry >> 20;
        uint64_t high = codes->distances.code[d] | (extra << codes->distances.length[d]);
        own.bits |= ((entry & 0xfffff) | high << n_low) << own.count;
        own.count += n_low + codes->distances.length[d] + bits;
        flush_bits(&own);
    }
    *w = own;
}

/* -- one block, the whole ----------------------------------------------------------------------------------- */

static int looks_repeated(const uint8_t *bytes, size_t n, size_t before, const unsigned *distances, int n_distances) {
    size_t looked = 0, found = 0;
    for (size_t i = 0; i + 8 <= n; i += LOOK_EVERY, looked++)
        for (int k = 0; k < n_distances; k++) {
            if (distances[k] > before + i) continue;
            uint64_t differ = load64(bytes + i) ^ load64(bytes + i - distances[k]);
            if (!(differ & 0xffffffff)) { found++; break; }
        }
    return 8 * found > looked;
}

static void two_most_frequent(const uint32_t *counts, int *one, int *other) {
    *one = counts[1] > counts[0];
    *other = !*one;
    for (int s = 2; s < 256; s++) {
        if (counts[s] > counts[*one]) { *other = *one; *one = s; }
        else if (counts[s] > counts[*other]) *other = s;
    }
}

static void find_matches(Scratch *scratch, const uint8_t *bytes, size_t n, size_t position, const unsigned *distances,
                         int n_distances, const uint32_t *counts, uint64_t cost, Tally *t) {
    int one, other;
    two_most_frequent(counts, &one, &other);
    if (n - counts[one] - counts[other] < n / 64) {
        if (scratch->one != one || scratch->other != other) {
            scratch->one = one;
            scratch->other = other;
            for (int g = 0; g < GRAMS; g++) scratch->last[g] = (uint32_t)position - 2 * WINDOW; /* out of reach */
        }
        find_grams(bytes, n, position, (uint8_t)one, (uint8_t)other, scratch, t);
        return;
    }
    scratch->one = scratch->other = -1;
    /* A match pays if as many literals cost more than it does: some seven bits. */
    unsigned least = (unsigned)(7 * n / (cost + 1)) + 1;
    find_repetitions(bytes, n, position, distances, n_distances, least < 3 ? 3 : least > 8 ? 8 : least, scratch, t);
}

/* Codes for all bytes of a block: of noise by a part of them, with a code for what may be in the rest, too. */
static void code_literals(const uint8_t *bytes, size_t n, int sampled, uint32_t *counts, Codes *codes) {
    const uint32_t no_distances[DISTANCES] = {0};
    if (sampled) for (int s = 0; s < 256; s++) counts[s] += !counts[s];
    else count_all(bytes, n, counts);
    make_codes(counts, no_distances, codes);
}

static void put_block(Writer *w, Scratch *scratch, const uint8_t *bytes, size_t n, size_t position,
                      const unsigned *distances, int n_distances) {
    uint32_t counts[SYMBOLS] = {0};
    const uint32_t no_distances[DISTANCES] = {0};
    Codes codes;
    (n < LEAST_TO_SAMPLE ? count_all : count_some)(bytes, n, counts);
    counts[END] = 1;
    make_codes(counts, no_distances, &codes);
    uint64_t stored = 8 * (uint64_t)n + 40 * (n / STORED + 1);
    int noisy = codes.cost >= 4 * (uint64_t)n;
    if (!noisy || looks_repeated(bytes, n, position, distances, n_distances)) {
        Tally t = {{0}, {0}, 0, 0};
        Codes matched;
        find_matches(scratch, bytes, n, position, distances, n_distances, counts, codes.cost, &t);
        t.literals[END] = 1;
        make_codes(t.literals, t.distances, &matched);
        if (matched.cost + t.extra < codes.cost) {
            put_codes(w, &matched);
            put_tokens(w, &matched, scratch->tokens, t.n);
            put(w, matched.literals.code[END], matched.literals.length[END]);
            return;
        }
    }
    code_literals(bytes, n, noisy && n >= LEAST_TO_SAMPLE, counts, &codes);
    if (codes.cost < stored) {
        Writer before = *w;
        put_codes(w, &codes);
        put_literals(w, &codes.literals, bytes, n);
        put(w, codes.literals.code[END], codes.literals.length[END]);
        if ((uint64_t)(w->out - before.out) <= stored / 8) return;
        *w = before; /* what was not counted was of another kind */
    }
    put_stored(w, bytes, n);
}

WIDE static void gather(const uint8_t *src, size_t n, unsigned itemsize, uint8_t *out) {
    if (itemsize == 1) memcpy(out, src, n);
    else if (itemsize == 2) for (size_t i = 0; i < n; i++) out[i] = src[2 * i];
    else if (itemsize == 4) for (size_t i = 0; i < n; i++) out[i] = src[4 * i];
    else if (itemsize == 8) for (size_t i = 0; i < n; i++) out[i] = src[8 * i];
    else for (size_t i = 0; i < n; i++) out[i] = src[itemsize * i];
}

WIDE static uint32_t adler(uint32_t sum, const uint8_t *bytes, size_t n) {
    uint32_t a = sum & 0xffff, b = sum >> 16;
    while (n) {
        size_t part = n < 4096 ? n : 4096;
        size_t i = 0;
        for (; i + 32 <= part; i += 32) {
            uint32_t s = 0, t = 0;
            for (unsigned j = 0; j < 32; j++) { s += bytes[i + j]; t += (32 - j) * bytes[i + j]; }
            b += 32 * a + t;
            a += s;
        }
        for (; i < part; i++) { a += bytes[i]; b += a; }
        a %= 65521; b %= 65521;
        bytes += part; n -= part;
    }
    return b << 16 | a;
}

static int choose_distances(size_t row, unsigned *distances) {
    size_t wanted[MOST_DISTANCES] = {row, 1, 2 * row};
    int n = 0;
    for (int k = 0; k < MOST_DISTANCES; k++)
        if (wanted[k] >= 1 && wanted[k] <= WINDOW && (k != 1 || row != 1)) distances[n++] = (unsigned)wanted[k];
    return n;
}

/* Write the stream and return its length.

   elements  `count` of them, of `itemsize` bytes each; below 4 Gi
   row       elements from one to its neighbour in the row before; 1 where there are no rows
   scratch   parnwb_planes_scratch() bytes, of one thread at a time
   out       parnwb_planes_bound(count, itemsize) bytes */
size_t parnwb_planes(const uint8_t *elements, size_t count, unsigned itemsize, size_t row, void *memory, uint8_t *out) {
    Scratch *scratch = memory;
    Writer w = {out, 0, 0};
    unsigned distances[MOST_DISTANCES];
    int n_distances = choose_distances(row, distances);
    uint32_t sum = 1;
    put(&w, 0x0178, 16); /* a window of 32 KiB, and that it was done quickly */
    for (unsigned plane = 0; plane < itemsize; plane++) {
        scratch->one = scratch->other = -1;
        for (size_t position = 0; position < count;) {
            size_t n = count - position < BLOCK ? count - position : BLOCK;
            uint8_t *bytes = scratch->bytes + WINDOW;
            gather(elements + position * itemsize + plane, n, itemsize, bytes);
            sum = adler(sum, bytes, n);
            put_block(&w, scratch, bytes, n, position, distances, n_distances);
            memcpy(scratch->bytes, scratch->bytes + BLOCK, WINDOW); /* after the last one nobody looks at it */
            position += n;
        }
    }
    put(&w, 3, 10); /* the last block: nothing, in the codes that need no description */
    align(&w);
    for (int k = 3; k >= 0; k--) *w.out++ = (uint8_t)(sum >> (8 * k));
    return (size_t)(w.out - out);
}
