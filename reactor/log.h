/* The plugin's log: one go-hclog JSON record a line on standard error, which the Nomad agent reads,
 * levels and merges into its own log (logStderr in go-plugin's client.go). Records are written with
 * one write(2) each; when the reader is gone, or does not read and the pipe is full, they are
 * dropped. */
#pragma once

enum log_level {
    LOG_LEVEL_TRACE,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARN,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_MAX
};

/* `task` is the id of the task that the record is about, or NULL. Text that is not UTF-8 is
 * replaced, control characters are escaped, and a record is cut at LOG_RECORD_MAX. */
void log_write(enum log_level level, const char *task, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Records below this level are not written; default LOG_LEVEL_TRACE (the agent filters). */
void log_set_level(enum log_level level);

/* PIPE_BUF: a pipe that can be written to takes so much whole and at once. (go-plugin reads lines
 * of up to 64 KiB; a longer one would be torn.) */
#define LOG_RECORD_MAX 4096

#define log_trace(...) log_write(LOG_LEVEL_TRACE, NULL, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)
#define log_info(...)  log_write(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_warn(...)  log_write(LOG_LEVEL_WARN, NULL, __VA_ARGS__)
#define log_error(...) log_write(LOG_LEVEL_ERROR, NULL, __VA_ARGS__)

#define log_task_debug(task, ...) log_write(LOG_LEVEL_DEBUG, (task), __VA_ARGS__)
#define log_task_info(task, ...)  log_write(LOG_LEVEL_INFO, (task), __VA_ARGS__)
#define log_task_warn(task, ...)  log_write(LOG_LEVEL_WARN, (task), __VA_ARGS__)
#define log_task_error(task, ...) log_write(LOG_LEVEL_ERROR, (task), __VA_ARGS__)
