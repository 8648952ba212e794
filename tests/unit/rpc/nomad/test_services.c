/* The tables of methods against the published .proto files: what a service declares is answered,
 * with the messages it declares, and nothing else is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "rpc/nomad/service_base.h"
#include "rpc/nomad/service_driver.h"
#include "rpc/nomad/service_health.h"
#include "rpc/nomad/service_plugin.h"

static const struct rpc_method *const tables[] = {
    base_methods,        driver_info_methods, driver_task_methods, driver_stream_methods,
    driver_exec_methods, health_methods,      plugin_methods,
};

#define N_TABLES (sizeof(tables) / sizeof(tables[0]))

static const struct rpc_method *find(const char *path)
{
    const struct rpc_method *found = NULL;

    for (size_t i = 0; i < N_TABLES; i++)
        for (const struct rpc_method *row = tables[i]; row->path != NULL; row++)
            if (strcmp(row->path, path) == 0) {
                assert_null(found);
                found = row;
            }
    return found;
}

static size_t n_rows(void)
{
    size_t n = 0;

    for (size_t i = 0; i < N_TABLES; i++)
        for (const struct rpc_method *row = tables[i]; row->path != NULL; row++)
            n++;
    return n;
}

/* "stream X" and "X" to the kind of stream and the message. */
static bool take_stream(char **type)
{
    if (strncmp(*type, "stream ", 7) != 0)
        return false;
    *type += 7;
    return true;
}

static void assert_message(const char *path, const ProtobufCMessageDescriptor *descriptor,
                           const char *package, const char *type)
{
    char name[256];

    if (strchr(type, '.') != NULL)
        snprintf(name, sizeof(name), "%s", type);
    else
        snprintf(name, sizeof(name), "%s.%s", package, type);
    if (strcmp(descriptor->name, name) != 0)
        fail_msg("%s: the table says %s, the file %s", path, descriptor->name, name);
}

static void check_method(const char *package, const char *service, const char *method,
                         char *request, char *response)
{
    static const enum rpc_kind kinds[2][2] = {
        { RPC_UNARY, RPC_SERVER_STREAM },
        { RPC_CLIENT_STREAM, RPC_BIDI_STREAM },
    };
    char path[1024];
    bool client = take_stream(&request), server = take_stream(&response);

    snprintf(path, sizeof(path), "/%s.%s/%s", package, service, method);
    const struct rpc_method *row = find(path);
    if (row == NULL)
        fail_msg("%s: no row", path);
    if (row->kind != kinds[client][server])
        fail_msg("%s: not the kind of call that the file says", path);
    assert_message(path, row->request, package, request);
    assert_message(path, row->response, package, response);
    assert_non_null(row->handle);
}

/* Reads up to the next ';' or '{' or '}' as one statement, line breaks as blanks. */
static bool read_statement(FILE *file, char *text, size_t size)
{
    size_t n = 0;
    int c;

    while ((c = fgetc(file)) != EOF) {
        if (c == '/') {
            while (c != '\n' && c != EOF)
                c = fgetc(file);
            continue;
        }
        if (c == '\n')
            c = ' ';
        if (c == ' ' && (n == 0 || text[n - 1] == ' '))
            continue;
        assert_true(n + 1 < size);
        if (c == ';' || c == '{' || c == '}') {
            text[n] = '\0';
            return true;
        }
        text[n++] = (char)c;
    }
    return false;
}

/* Answers the number of methods. */
static size_t check_file(const char *path)
{
    FILE *file = fopen(path, "re");
    char text[1024], package[256] = "", service[256] = "", method[256], request[256], response[256];
    size_t n = 0;

    assert_non_null(file);
    while (read_statement(file, text, sizeof(text))) {
        if (sscanf(text, "package %255s", package) == 1)
            continue;
        if (sscanf(text, "service %255s", service) == 1)
            continue;
        if (sscanf(text, "rpc %255[^(](%255[^)]) returns (%255[^)])", method, request,
                   response) != 3)
            continue;
        check_method(package, service, method, request, response);
        n++;
    }
    fclose(file);
    return n;
}

static void test_what_the_files_declare_is_what_is_answered(void **state)
{
    (void)state;
    size_t n = 0;

    n += check_file("proto/base.proto");
    n += check_file("proto/driver.proto");
    n += check_file("proto/grpc_broker.proto");
    n += check_file("proto/grpc_controller.proto");
    n += check_file("proto/grpc_stdio.proto");
    n += check_file("proto/health.proto");
    assert_int_equal(n, 3 + 18 + 1 + 1 + 1 + 3);
    assert_int_equal(n, n_rows());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_files_declare_is_what_is_answered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
