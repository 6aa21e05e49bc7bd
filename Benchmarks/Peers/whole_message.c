// Rows served as whole messages, the way of ps-lite: the server looks every key of a request up in a hash
// map, copies its row into a response that it allocates for this request, and sends that as one message; the
// client copies the response to where it wants the rows. A push is one message too, sent without a copy, and
// acknowledged when its rows are stored. Two processes, ROUTER and DEALER, TCP over loopback.
//
// Prints {"pull": GB/s, "push": GB/s, "both": GB/s}: medians, 10^9 bytes of rows; "both" is one of each.
//
//     cc -O3 whole_message.c -lzmq && ./a.out [rows [columns [rows of the table [repetitions]]]]

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { pull = 1, push = 2, warm_up = 2 };

static void check(int good, const char *what) {
    if (good) return;
    fprintf(stderr, "whole_message: error: %s: %s\n", what, zmq_strerror(zmq_errno()));
    exit(1);
}

static void *allocate(size_t size) {
    void *memory = malloc(size);
    check(memory != NULL, "out of memory");
    return memory;
}

static void release(void *data, void *hint) {
    (void)hint;
    free(data);
}

static zmq_msg_t receive(void *socket) {
    zmq_msg_t message;
    zmq_msg_init(&message);
    check(zmq_msg_recv(&message, socket, 0) >= 0, "receive");
    return message;
}

// MARK: the hash map, chained, every row an allocation of its own

typedef struct entry {
    uint64_t key;
    struct entry *next;
    float *row;
} entry;

typedef struct {
    entry **buckets;
    size_t count;
} map;

static entry **bucket(map *store, uint64_t key) { return &store->buckets[key % store->count]; }

static float *find(map *store, uint64_t key) {
    entry *at = *bucket(store, key);
    while (at && at->key != key) at = at->next;
    check(at != NULL, "no row has this key");
    return at->row;
}

// About one key in each bucket; every number of a row is its key.
static map filled_map(size_t rows, size_t columns) {
    map store = {calloc(rows | 1, sizeof(entry *)), rows | 1};
    check(store.buckets != NULL, "out of memory");
    for (size_t key = 0; key < rows; key++) {
        entry *new = allocate(sizeof *new);
        *new = (entry){key, *bucket(&store, key), allocate(columns * sizeof(float))};
        for (size_t d = 0; d < columns; d++) new->row[d] = (float)key;
        *bucket(&store, key) = new;
    }
    return store;
}

// MARK: the server

static void answer_pull(void *socket, map *store, zmq_msg_t *keys, size_t row) {
    size_t count = zmq_msg_size(keys) / sizeof(uint64_t);
    const uint64_t *key = zmq_msg_data(keys);
    char *values = allocate(count * row);
    for (size_t i = 0; i < count; i++) memcpy(values + i * row, find(store, key[i]), row);
    zmq_msg_t response;
    zmq_msg_init_data(&response, values, count * row, release, NULL);
    check(zmq_msg_send(&response, socket, 0) >= 0, "send");
}

static void answer_push(void *socket, map *store, zmq_msg_t *keys, size_t row) {
    size_t count = zmq_msg_size(keys) / sizeof(uint64_t);
    const uint64_t *key = zmq_msg_data(keys);
    zmq_msg_t message = receive(socket);
    check(zmq_msg_size(&message) == count * row, "a push of another size");
    const char *values = zmq_msg_data(&message);
    for (size_t i = 0; i < count; i++) memcpy(find(store, key[i]), values + i * row, row);
    zmq_msg_close(&message);
    check(zmq_send(socket, "", 0, 0) >= 0, "send");
}

static void serve(int endpoint_pipe, size_t table_rows, size_t columns) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    map store = filled_map(table_rows, columns);
    void *context = zmq_ctx_new(), *socket = zmq_socket(context, ZMQ_ROUTER);
    check(zmq_bind(socket, "tcp://127.0.0.1:*") == 0, "bind");
    char endpoint[64] = "";
    size_t size = sizeof endpoint;
    check(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0, "endpoint");
    check(write(endpoint_pipe, endpoint, sizeof endpoint) == sizeof endpoint, "write");
    for (;;) {
        zmq_msg_t peer = receive(socket), kind = receive(socket), keys = receive(socket);
        check(zmq_msg_send(&peer, socket, ZMQ_SNDMORE) >= 0, "send");
        char what = *(char *)zmq_msg_data(&kind);
        (what == pull ? answer_pull : answer_push)(socket, &store, &keys, columns * sizeof(float));
        zmq_msg_close(&kind);
        zmq_msg_close(&keys);
    }
}

// MARK: the client

typedef struct {
    void *socket;
    size_t rows, row;  // how many, and the bytes of one
    uint64_t *keys;
    float *values;
} client;

static void request(client *self, char kind, int more) {
    check(zmq_send(self->socket, &kind, 1, ZMQ_SNDMORE) >= 0, "send");
    check(zmq_send(self->socket, self->keys, self->rows * sizeof(uint64_t), more) >= 0, "send");
}

static void pull_rows(client *self) {
    request(self, pull, 0);
    zmq_msg_t response = receive(self->socket);
    check(zmq_msg_size(&response) == self->rows * self->row, "a response of another size");
    memcpy(self->values, zmq_msg_data(&response), self->rows * self->row);
    zmq_msg_close(&response);
}

static void push_rows(client *self) {
    request(self, push, ZMQ_SNDMORE);
    zmq_msg_t message;
    zmq_msg_init_data(&message, self->values, self->rows * self->row, NULL, NULL);
    check(zmq_msg_send(&message, self->socket, 0) >= 0, "send");
    zmq_msg_t acknowledgement = receive(self->socket);
    zmq_msg_close(&acknowledgement);
}

// Distinct keys of the table, ascending, at random distances.
static void draw_keys(client *self, size_t table_rows) {
    size_t drawn = 0;
    for (size_t key = 0; key < table_rows && drawn < self->rows; key++)
        if ((size_t)rand() % (table_rows - key) < self->rows - drawn) self->keys[drawn++] = key;
}

// Every number that was pulled must be its row's key times a sign; the sign is turned for the next push.
static void check_and_negate(client *self, float sign) {
    size_t columns = self->row / sizeof(float);
    for (size_t i = 0; i < self->rows * columns; i++) {
        check(self->values[i] == sign * self->keys[i / columns], "a wrong row came");
        self->values[i] *= -1;
    }
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + 1e-9 * now.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

static double median(double *times, size_t count) {
    qsort(times, count, sizeof *times, ascending);
    return count % 2 ? times[count / 2] : (times[count / 2 - 1] + times[count / 2]) / 2;
}

int main(int count, char **arguments) {
    size_t sizes[] = {100000, 512, 1000000, 15};
    for (int i = 1; i < count && i <= 4; i++) sizes[i - 1] = strtoul(arguments[i], NULL, 10);
    size_t rows = sizes[0], columns = sizes[1], table_rows = sizes[2], repetitions = sizes[3];
    if (!rows || !columns || table_rows < rows || !repetitions) {
        fprintf(stderr, "usage: %s [rows [columns [rows of the table [repetitions]]]]\n", arguments[0]);
        return 64;
    }
    int ends[2];
    check(pipe(ends) == 0, "pipe");
    pid_t server = fork();
    check(server >= 0, "fork");
    if (server == 0) serve(ends[1], table_rows, columns);
    close(ends[1]);
    char endpoint[64];
    check(read(ends[0], endpoint, sizeof endpoint) == sizeof endpoint, "the server did not start");

    void *context = zmq_ctx_new();
    size_t row = columns * sizeof(float);
    client self = {zmq_socket(context, ZMQ_DEALER), rows, row, allocate(rows * sizeof(uint64_t)),
                   allocate(rows * row)};
    check(zmq_connect(self.socket, endpoint) == 0, "connect");
    draw_keys(&self, table_rows);
    for (int turn = 0; turn < 2; turn++) {
        pull_rows(&self);
        check_and_negate(&self, turn == 0 ? 1 : -1);
        push_rows(&self);
    }

    double *pulls = allocate(repetitions * sizeof(double)), *pushes = allocate(repetitions * sizeof(double));
    double *both = allocate(repetitions * sizeof(double));
    for (size_t i = 0; i < warm_up + repetitions; i++) {
        draw_keys(&self, table_rows);
        double start = seconds();
        pull_rows(&self);
        double middle = seconds();
        push_rows(&self);
        double end = seconds();
        if (i < warm_up) continue;
        size_t at = i - warm_up;
        pulls[at] = middle - start, pushes[at] = end - middle, both[at] = end - start;
    }
    double gigabytes = 1e-9 * rows * row;
    printf("{\"pull\": %.4f, \"push\": %.4f, \"both\": %.4f}\n", gigabytes / median(pulls, repetitions),
           gigabytes / median(pushes, repetitions), 2 * gigabytes / median(both, repetitions));
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return 0;
}
