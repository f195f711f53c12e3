/* The fused loop of the benchmark's pipeline as one would write it in C: the same columns in, the same columns out.
 *
 * It does what the compiled pipeline does for each event: skips what is rejected or not owned, finds the key's row by
 * open addressing within its partition and compares the whole key, appends a new key, keeps a copy of the row, runs an
 * EWMA and a z-score, refuses results that are not finite and puts the copy back. Like the engine it fetches index and
 * rows ahead for blocks of 32 events. It is spared what the benchmark never needs: indexes are sized beforehand and do
 * not grow, and keys are at most 22 bytes.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

enum { BLOCK = 32, KEY_INLINE_MAX = 22, KEY_INVALID = 1, OPERATOR_FAILED = 8, OVERLOADED = 32, UNAVAILABLE = 33 };

typedef struct {
    uint64_t hash;
    int64_t time_us;
    uint32_t key_start, key_length, partition, reason;
} event_t;

typedef struct {
    uint64_t key[3];
    int64_t time_us;
    double ewma; /* NaN before the first value */
    int64_t z_count;
    double z_mean, z_m2;
} row_t; /* 64 bytes, as the engine's: one cache line */

typedef struct {
    const uint8_t *owned; /* [partitions] */
    uint64_t *slots;      /* [partitions << bits]: upper half of the hash, number of the row + 1; 0: free */
    row_t *rows;          /* [partitions * keys_max] */
    uint32_t *counts;     /* [partitions] */
    int64_t bits, keys_max;
} table_t;

static inline uint64_t home(const table_t *table, const event_t *event) {
    return ((uint64_t)event->partition << table->bits) + (event->hash >> (64 - table->bits));
}

static inline uint64_t word(const uint8_t *from, int64_t length) {
    uint64_t bytes;
    if (length <= 0) return 0;
    memcpy(&bytes, from, 8);
    return length >= 8 ? bytes : bytes & (((uint64_t)1 << 8 * length) - 1);
}

/* Reads up to 24 bytes at once and masks them, where the buffer is long enough. */
static inline void pack_key(uint64_t key[3], const uint8_t *buffer, int64_t size, uint32_t start, uint32_t length) {
    if (start + 24 <= size) {
        for (int i = 0; i < 3; i++) key[i] = word(buffer + start + 8 * i, (int64_t)length - 8 * i);
    } else {
        memset(key, 0, 24);
        memcpy(key, buffer + start, length);
    }
    key[2] |= (uint64_t)length << 48;
}

static inline int same_key(const row_t *row, const uint64_t key[3]) {
    return row->key[0] == key[0] && row->key[1] == key[1] && row->key[2] == key[2];
}

/* The row of the event's key, appended if it is new; NULL if the partition is full. */
static inline row_t *find_or_insert(const table_t *table, const event_t *event, const uint64_t key[3], int *is_new) {
    const uint64_t mask = ((uint64_t)1 << table->bits) - 1, base = (uint64_t)event->partition << table->bits;
    row_t *rows = table->rows + (uint64_t)event->partition * table->keys_max;
    uint64_t at = event->hash >> (64 - table->bits);
    for (uint64_t slot; (slot = table->slots[base + at]) != 0; at = (at + 1) & mask) {
        if (slot >> 32 == event->hash >> 32) {
            row_t *row = rows + (uint32_t)slot - 1;
            if (same_key(row, key)) return row;
        }
    }
    uint32_t count = table->counts[event->partition];
    if (count >= table->keys_max) return NULL;
    table->counts[event->partition] = count + 1;
    table->slots[base + at] = event->hash >> 32 << 32 | (count + 1);
    row_t *row = rows + count;
    *row = (row_t){.key = {key[0], key[1], key[2]}, .ewma = NAN};
    *is_new = 1;
    return row;
}

static void remove_newest(const table_t *table, const event_t *event) {
    const uint64_t mask = ((uint64_t)1 << table->bits) - 1, base = (uint64_t)event->partition << table->bits;
    uint32_t newest = table->counts[event->partition]--;
    uint64_t at = event->hash >> (64 - table->bits);
    while ((uint32_t)table->slots[base + at] != newest) at = (at + 1) & mask;
    table->slots[base + at] = 0;
}

/* Humidity into an EWMA, temperature into a z-score (Welford). Returns whether both may be stored. */
static inline int steps(row_t *row, const double *values, double *out) {
    double humidity = values[1], temperature = values[0];
    row->ewma = isnan(row->ewma) ? humidity : row->ewma + 0.1 * (humidity - row->ewma);
    if (!isfinite(row->ewma)) return 0;
    out[0] = row->ewma;
    row->z_count++;
    double delta = temperature - row->z_mean;
    row->z_mean += delta / row->z_count;
    row->z_m2 += delta * (temperature - row->z_mean);
    double z = NAN;
    if (row->z_count > 1) {
        double deviation = sqrt(row->z_m2 / row->z_count);
        if (deviation > 0) z = (temperature - row->z_mean) / deviation;
    }
    if (isinf(z)) return 0;
    out[1] = z;
    return 1;
}

/* Handles `count` events of a message of `size` bytes; values and out: two for each. Returns how many were rejected. */
int64_t apply(const table_t *table, int64_t count, const uint8_t *buffer, int64_t size, event_t *events,
              const double *values, double *out) {
    int64_t rejected = 0;
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t last = first + BLOCK < count ? first + BLOCK : count;
        for (int64_t i = first; i < last; i++) __builtin_prefetch(table->slots + home(table, events + i), 1);
        for (int64_t i = first; i < last; i++) {
            const uint64_t mask = ((uint64_t)1 << table->bits) - 1, base = (uint64_t)events[i].partition << table->bits;
            uint64_t at = events[i].hash >> (64 - table->bits), slot;
            while ((slot = table->slots[base + at]) != 0 && slot >> 32 != events[i].hash >> 32) at = (at + 1) & mask;
            if (slot != 0)
                __builtin_prefetch(table->rows + (uint64_t)events[i].partition * table->keys_max + (uint32_t)slot - 1, 1);
        }
        for (int64_t i = first; i < last; i++) {
            event_t *event = events + i;
            uint64_t key[3];
            int is_new = 0;
            if (event->key_length > KEY_INLINE_MAX) event->reason = KEY_INVALID;
            if (event->reason != 0) {
                rejected++;
                continue;
            }
            if (!table->owned[event->partition]) {
                event->reason = UNAVAILABLE;
                rejected++;
                continue;
            }
            pack_key(key, buffer, size, event->key_start, event->key_length);
            row_t *row = find_or_insert(table, event, key, &is_new);
            if (row == NULL) {
                event->reason = OVERLOADED;
                rejected++;
                continue;
            }
            row_t backup = *row;
            if (steps(row, values + 2 * i, out + 2 * i)) {
                if (event->time_us > row->time_us) row->time_us = event->time_us;
                continue;
            }
            *row = backup;
            if (is_new) remove_newest(table, event);
            event->reason = OPERATOR_FAILED;
            rejected++;
        }
    }
    return rejected;
}
