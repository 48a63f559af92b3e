#pragma once

// The words of the command line, as tables: what reads them and the help go by the same. Only
// command_line.cpp includes it.

#include <array>
#include <cstddef>
#include <cstdint>

#include "conf/command_line.h"

namespace classgate::conf {

struct KeyFlag {
  const char* flag;
  const char* key;
  const char* help;
};
inline constexpr std::array key_flags{
    KeyFlag{"listen", "listen", "addresses to listen on, such as 127.0.0.1:8080"},
    KeyFlag{"threads", "threads", "event loops"},
    KeyFlag{"upstream", "upstream.servers", "addresses of the service"},
    KeyFlag{"workers", "admission.workers", "requests in the service at once"},
    KeyFlag{"queue-size", "admission.queue_size", "requests that may wait"},
    KeyFlag{"rate", "admission.rate", "requests a second, 0: no limit"},
    KeyFlag{"burst", "admission.burst", "requests that may come at once"},
    KeyFlag{"request-timeout", "admission.request_timeout", "such as 30s"},
    KeyFlag{"log-level", "log.level", "debug, info, warning or error"},
    KeyFlag{"log-format", "log.format", "text or json"},
};

struct ModeFlag {
  const char* names;
  const char* flag;
  CommandLine::Mode mode;
  const char* help;
};
inline constexpr std::array mode_flags{
    ModeFlag{"t,check", "check", CommandLine::Mode::check, "test the configuration and exit"},
    ModeFlag{"T,print-config", "print-config", CommandLine::Mode::print_config,
             "test the configuration and print what is in force and where it came from"},
    ModeFlag{"v,version", "version", CommandLine::Mode::version, "print the version"},
    ModeFlag{"V,build", "build", CommandLine::Mode::build,
             "print the version and how it was built"},
    ModeFlag{"keys", "keys", CommandLine::Mode::keys, "list all keys with their defaults"},
    ModeFlag{"h,help", "help", CommandLine::Mode::help, "print this text"},
};

struct Command {
  const char* name;
  std::size_t arguments;
  const char* usage;
  const char* help;
};
inline constexpr std::array commands{
    Command{"status", 0, "status [--watch] [--json] [--quiet] [--live]",
            "what it does now; exits 0 when it can serve (--live: when it is well itself), 1 when "
            "not, 2 when it is not there"},
    Command{"queue", 0, "queue [--json]", "every waiting request"},
    Command{"explain", 2, "explain METHOD PATH [-H FIELD ...]",
            "what would become of this request now, and why; exits 1 when it would be refused"},
    Command{
        "why", 1, "why ID [--json]",
        "what became of the request with this id, and why; exits 1 when nothing is known of it"},
    Command{"set", 2, "set KEY VALUE", "changes a limit until the next reload"},
    Command{"forget", 1, "forget CLIENT [--file FILE]",
            "takes one client out of the history, from the disk too"},
    Command{"reload", 0, "reload", "reads the conf again; says what is wrong with it"},
    Command{"upgrade", 0, "upgrade", "starts the installed program in its place, without loss"},
    Command{"drain", 0, "drain", "finishes what was accepted, then ends"},
};

struct CommandOption {
  const char* names;
  const char* name;
  const char* value;     // what its value is called
  const char* implicit;  // its value when none is given; nullptr: one must be
  const char* command;   // or commands
  const char* help;
};
inline constexpr std::array command_options{
    CommandOption{"clients", "clients", "[=NUMBER]", "10", "status",
                  "with the clients that have most"},
    CommandOption{"H,header", "header", "\"NAME: VALUE\"", nullptr, "explain load",
                  "a field of the request; several: one each"},
    CommandOption{"client", "client", "ADDRESS|NAME", nullptr, "explain usage",
                  "where its connection comes from (127.0.0.1); of usage: this client's own"},
    CommandOption{"file", "file", "FILE", nullptr, "usage forget",
                  "a history, which may be a copy (history.db of state_dir)"},
    CommandOption{"subject", "subject", "TEXT", nullptr, "explain",
                  "of the certificate that its client shows"},
    CommandOption{"san", "san", "NAME", nullptr, "explain",
                  "its alternative name, for identity = \"tls:san\""},
    CommandOption{"listener", "listener", "ADDRESS", nullptr, "explain",
                  "where it connects, as listen has it"},
    CommandOption{"body", "body", "BYTES|FILE", nullptr, "explain load",
                  "how long its body is; of load: the file that is its body"},
};
inline constexpr std::uint32_t clients_shown_max = 1'000;

// Commands that need no running classgate.
struct Tool {
  const char* name;
  CommandLine::Mode mode;
  const char* usage;
  const char* help;
};
inline constexpr std::array tools{
    Tool{"simulate", CommandLine::Mode::simulate, "simulate (--log FILE | --workload FILE)",
         "what a conf would do with this traffic, in virtual time"},
    Tool{"key", CommandLine::Mode::new_key, "key new NAME",
         "makes a key for a client: prints it, and its line for clients.clients_file"},
    Tool{"load", CommandLine::Mode::load, "load --to ADDRESS (--log FILE | --workload FILE)",
         "makes this traffic for real; --find-knee measures what a service can do"},
    Tool{"forecast", CommandLine::Mode::forecast, "forecast (--series FILE.csv | --log FILE)",
         "what a load will be, how surely, and how good such forecasts of it were"},
    Tool{"conf", CommandLine::Mode::conf_history,
         "conf history | conf show NUMBER | conf rollback [NUMBER]",
         "the confs that were in force, or what one says; takes one back and reloads"},
    Tool{"usage", CommandLine::Mode::usage, "usage [--by client|plan|route|reason|status|priority]",
         "who has used how much, from the history, beside a running classgate too"},
};

// Options of the tools, and which of them have each.
struct ToolOption {
  const char* name;
  const char* value;  // what its value is called; nullptr for a switch
  const char* tools;
  const char* help;
};
inline constexpr std::array tool_options{
    ToolOption{"log", "FILE", "simulate load forecast",
               "an access log is the traffic; .gz and .zst are read; -: standard input"},
    ToolOption{"format", "NAME", "simulate load forecast",
               "whose log it is, if its first lines do not tell: classgate, nginx, haproxy, envoy, "
               "caddy, json"},
    ToolOption{"workload", "FILE", "simulate load", "a workload file is (classgate-workload(5))"},
    ToolOption{"upstream", "MODEL", "simulate",
               "recorded, fitted, a law such as \"exponential 50ms\", or a file with [upstream]"},
    ToolOption{"html", "FILE", "simulate load forecast",
               "a page with plots, which needs no network"},
    ToolOption{"requests", "FILE", "simulate load", "a line for each request: what became of it"},
    ToolOption{"sweep", "KEY=A..B:STEP", "simulate", "under each of these values; several: a grid"},
    ToolOption{"plan", "TARGET", "simulate",
               "the smallest limits for \"wait p95 <= 100ms for priority 3\", \"served >= 99%\""},
    ToolOption{"scale", "[NAME=]TIMES", "simulate load",
               "so many times the traffic, or that of one class or route"},
    ToolOption{"growth", "RATE/PERIOD[,NUMBER]", "simulate",
               "as the traffic grows, such as 10%/week,26: from when on it is too much"},
    ToolOption{"workload-out", "FILE", "simulate", "the log as a workload, to be edited"},
    ToolOption{"try-on", "FILE", "simulate",
               "another log, on which the plan is tried; else the second half of this one"},
    ToolOption{"diff", "OLD", "simulate", "what changes from the conf OLD to NEW (or --conf)"},
    ToolOption{"to", "ADDRESS", "load",
               "where it goes, such as http://127.0.0.1:9000, or with a path"},
    ToolOption{"find-knee", nullptr, "load",
               "how many requests the service computes at once, and a conf for it"},
    ToolOption{"request", "FILE", "load",
               "what is asked: request line, fields, an empty line, the body"},
    ToolOption{"method", "METHOD", "load", "of the requests; POST with a body"},
    ToolOption{"body-bytes", "SIZE", "load", "a body of this size, such as 4000 or 64KiB"},
    ToolOption{"time", "DURATION", "load", "how long at most, such as 30s (60s)"},
    ToolOption{"connections", "NUMBER", "load", "at once at most (2000)"},
    ToolOption{"h2", nullptr, "load", "by HTTP/2, without TLS (prior knowledge)"},
    ToolOption{"streams", "NUMBER", "load", "of HTTP/2, at once on one connection (1)"},
    ToolOption{"grpc", "/SERVICE/METHOD", "load",
               "unary calls of it, whose message is the file of --body"},
    ToolOption{"anywhere", nullptr, "load", "not only to this machine"},
    ToolOption{"forwarded-for", nullptr, "load", "X-Forwarded-For says which client it is"},
    ToolOption{"service-time-header", "NAME", "load", "tells a test service what a request takes"},
    ToolOption{"seed", "NUMBER", "simulate load", "another course of chance"},
    ToolOption{"keep-going", nullptr, "simulate load forecast",
               "takes what can be read of a log with many malformed lines, or of a damaged file"},
    ToolOption{"series", "FILE", "forecast", "a header, then a time and a value a row"},
    ToolOption{"of", "NAME", "forecast",
               "a column of the series; of a log priority_3 or plan_NAME (all of it)"},
    ToolOption{"horizon", "TIME", "forecast", "how far ahead, such as 1h (5m, 15m, 1h and 24h)"},
    ToolOption{"step", "TIME", "forecast", "makes steps of this length of whatever rows there are"},
    ToolOption{"arrivals", nullptr, "forecast", "each row is one arrival, whatever its values"},
    ToolOption{"time-zone", "NAME", "forecast usage",
               "whose days and weeks, such as Europe/Berlin (UTC)"},
    ToolOption{"backtest", nullptr, "forecast", "only how good it was, over the second half"},
    ToolOption{"autoscale", "RULE", "forecast",
               "what servers scaled by KEDA, KPA, HPA, forecast or all would have missed and cost"},
    ToolOption{"per-server", "NUMBER", "forecast", "the load that one server takes"},
    ToolOption{"start-delay", "TIME", "forecast", "until a new server serves (60s)"},
    ToolOption{"by", "WHAT", "usage", "client, plan, route, reason, status or priority (client)"},
    ToolOption{"since", "TIME", "usage", "24h, 7d or 1y ago, or a date (24h)"},
    ToolOption{"until", "TIME", "usage", "likewise (now)"},
    ToolOption{"top", "NUMBER", "usage", "of those that have most (20)"},
    ToolOption{"order", "WHAT", "usage", "by requests, cost or refused (requests)"},
    ToolOption{"sessions", nullptr, "usage", "sessions, and who was there, in place of sums"},
    ToolOption{"csv", nullptr, "usage", "as CSV (RFC 4180)"},
};

}  // namespace classgate::conf
