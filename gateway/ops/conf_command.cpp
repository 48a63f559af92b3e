#include "gateway/ops/conf_command.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "conf/format.h"
#include "conf/printable.h"
#include "conf/reader.h"
#include "conf/text_file.h"
#include "gateway/history/usage_history.h"
#include "gateway/json_text.h"
#include "gateway/ops/conf_archive.h"
#include "gateway/ops/conf_files.h"
#include "gateway/ops/conf_record.h"
#include "gateway/ops/control_client.h"
#include "gateway/ops/control_question.h"
#include "gateway/wall_time.h"

namespace classgate::gateway {
namespace {

using Environment = std::vector<std::pair<std::string, std::string>>;

int complain_of_conf(const std::string& text, int status = 1) {
  conf::print(stderr, fmt::format("classgate: conf: {}\n", conf::printable_lines(text)));
  return status;
}

conf::Sources sources_of(const conf::CommandLine& command, const Environment& environment) {
  return {.conf_path = command.conf_path,
          .environment = environment,
          .command_line = command.overrides};
}

// Also where the conf on the disk is bad: that is when it is needed.
ConfArchive archive_of(const conf::Sources& sources) {
  conf::Settings settings;
  settings.state_dir = conf::state_dir(sources);
  return ConfArchive(state_folder_of(settings) + "/conf");
}

// Why there is none; empty: there are some.
std::string why_none(const ConfArchive& archive,
                     const std::expected<ConfArchive::All, std::string>& all) {
  if (all && !all->confs.empty()) return {};
  return fmt::format(
      "{}: no conf was kept there: a classgate that runs keeps those that come "
      "into force (state_dir, ops.conf_history)",
      all ? archive.folder() : all.error());
}

std::string page_of(const ConfArchive::All& all, const std::optional<ConfFiles>& disk) {
  std::string out;
  for (auto conf = all.confs.rbegin(); conf != all.confs.rend(); ++conf) {
    out += fmt::format("{:>6}  {}  {}{}{}\n", conf->number, conf->at, conf->what,
                       conf->by.empty() ? "" : ", by ", conf->by);
    for (const std::string& line : conf->changes) out += fmt::format("        {}\n", line);
    if (conf->changes.empty() && conf->was_in_force && conf->number == all.confs.front().number)
      out += "        the oldest that is kept\n";
  }
  const auto same = std::find_if(all.confs.rbegin(), all.confs.rend(),
                                 [&](const KeptConf& conf) { return disk && conf.files == *disk; });
  if (!disk)
    out += "\nthe conf on the disk cannot be read\n";
  else if (same == all.confs.rend())
    out +=
        "\nwhat is on the disk now is none of these: nothing here says that it has been in force\n";
  else
    out += fmt::format("\nwhat is on the disk now is number {}\n", same->number);
  return out;
}

std::string json_of(const ConfArchive::All& all, const std::optional<ConfFiles>& disk) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const KeptConf& conf : all.confs)
    list.push_back({{"number", conf.number},
                    {"at", conf.at},
                    {"by", conf.by},
                    {"what", conf.what},
                    {"was_in_force", conf.was_in_force},
                    {"changes", conf.changes},
                    {"is_on_disk", disk && conf.files == *disk}});
  return json_text({{"confs", list}});
}

// As if its files stood on the disk.
std::expected<conf::Loaded, std::vector<conf::Mistake>> load_kept(const KeptConf& conf,
                                                                  conf::Sources sources) {
  sources.texts = std::make_shared<const conf::Texts>(texts_of(conf.files, sources.conf_path));
  return conf::load(sources);
}

std::string told_mistakes(std::string lines, const std::vector<conf::Mistake>& mistakes) {
  for (const conf::Mistake& mistake : mistakes)
    lines += fmt::format("\n{}: {}", mistake.place, mistake.text);
  return lines;
}

// Why this one is no good here and now; empty: it is good.
std::string why_no_good(const KeptConf& conf, const conf::Sources& sources) {
  const auto loaded = load_kept(conf, sources);
  if (loaded) return {};
  return told_mistakes(
      fmt::format("number {} is no good any more, nothing was changed:", conf.number),
      loaded.error());
}

std::string no_such_number(std::uint64_t number) {
  return fmt::format("there is no number {}: classgate conf history tells which there are", number);
}

// The one that is meant, or why there is none.
std::expected<KeptConf, std::string> find_wanted(const ConfArchive::All& all, std::uint64_t number,
                                                 const ConfFiles& disk) {
  const auto found = std::find_if(all.confs.rbegin(), all.confs.rend(), [&](const KeptConf& conf) {
    return number != 0 ? conf.number == number : conf.was_in_force && conf.files != disk;
  });
  if (found == all.confs.rend())
    return std::unexpected(
        number != 0 ? no_such_number(number)
                    : std::string("no conf is kept that says anything else than the disk"));
  if (found->files == disk)
    return std::unexpected(
        fmt::format("the disk says what number {} says already; to have that in "
                    "force: classgate reload",
                    found->number));
  return *found;
}

// What no history knows of must not be lost: it is given a number too. Tells which, or 0; the error
// is why it cannot be kept.
std::expected<std::uint64_t, std::string> keep_disk(const ConfArchive& archive,
                                                    const ConfArchive::All& all,
                                                    const ConfFiles& disk) {
  const auto is_kept = [&](const KeptConf& conf) { return conf.files == disk; };
  if (std::ranges::any_of(all.confs, is_kept)) return 0;
  bool is_text = conf::is_utf8_text(disk.conf);
  for (const auto& [name, text] : disk.beside) is_text = is_text && conf::is_utf8_text(text);
  if (!is_text)
    return std::unexpected("what is on the disk is no UTF-8 text, and was not kept: move it away");
  return archive.keep(
      {.at = wall_time_text(std::chrono::system_clock::now()),
       .by = who_is(::getuid()),
       .what = "stood on the disk at a rollback, and was not known to have been in force",
       .was_in_force = false,
       .files = disk},
      ConfArchive::every_one);
}

}  // namespace

int tell_conf_history(const conf::CommandLine& command, const Environment& environment) {
  const conf::Sources sources = sources_of(command, environment);
  const ConfArchive archive = archive_of(sources);
  const auto all = archive.read();
  if (const std::string why = why_none(archive, all); !why.empty()) return complain_of_conf(why);
  const auto read = read_conf_files(sources.conf_path);
  const std::optional<ConfFiles> disk = read ? std::optional(*read) : std::nullopt;
  conf::print(stdout, command.as_json ? json_of(*all, disk) : page_of(*all, disk));
  for (const std::string& line : all->damaged) complain_of_conf(line);
  return 0;
}

int show_kept_conf(const conf::CommandLine& command, const Environment& environment) {
  const conf::Sources sources = sources_of(command, environment);
  const ConfArchive archive = archive_of(sources);
  const auto all = archive.read();
  if (const std::string why = why_none(archive, all); !why.empty()) return complain_of_conf(why);
  const auto kept = std::ranges::find(all->confs, command.number, &KeptConf::number);
  if (kept == all->confs.end()) return complain_of_conf(no_such_number(command.number));
  // Alone: what the environment says would hide what the files said. Unless they need it.
  conf::Sources files_alone;
  files_alone.conf_path = sources.conf_path;
  auto loaded = load_kept(*kept, files_alone);
  if (!loaded) loaded = load_kept(*kept, sources);
  if (!loaded)
    return complain_of_conf(told_mistakes(
        fmt::format("number {} cannot be shown without its secrets, as this version cannot read "
                    "it; as it was it stands in {}:",
                    kept->number, archive.folder()),
        loaded.error()));
  std::string out = fmt::format("# number {}, {}: {}{}{}{}\n", kept->number, kept->at, kept->what,
                                kept->by.empty() ? "" : ", by ", kept->by,
                                kept->was_in_force ? "" : " (not known to have been in force)");
  out += conf::print_said(*loaded);
  conf::print(stdout, out);
  return 0;
}

int roll_back(const conf::CommandLine& command, const Environment& environment) {
  const conf::Sources sources = sources_of(command, environment);
  const ConfArchive archive = archive_of(sources);
  const auto alone = archive.lock();
  if (!alone) return complain_of_conf(alone.error() + "; nothing was changed");
  const auto all = archive.read();
  if (const std::string why = why_none(archive, all); !why.empty()) return complain_of_conf(why);
  const auto disk = read_conf_files(sources.conf_path);
  if (!disk) return complain_of_conf(disk.error());
  const auto wanted = find_wanted(*all, command.number, *disk);
  if (!wanted) return complain_of_conf(wanted.error());
  if (const std::string why = why_no_good(*wanted, sources); !why.empty())
    return complain_of_conf(why);
  const auto socket = control_path(command, environment);
  if (!socket) return complain_of_conf(socket.error());
  const auto kept = keep_disk(archive, *all, *disk);
  if (!kept) return complain_of_conf(kept.error() + "; nothing was changed");

  ConfFileSwap swap(sources.conf_path);
  if (const auto done = swap.to(wanted->files); !done)
    return complain_of_conf(done.error() + "; nothing was changed");
  std::string said;
  if (*kept != 0) said += fmt::format("what was on the disk is kept as number {}\n", *kept);
  for (const std::string& line : swap.told()) said += line + "\n";
  said += fmt::format("the conf on the disk is that of number {} ({}) again\n", wanted->number,
                      wanted->at);
  if (*socket == "off" || is_deserted(*socket)) {
    said += *socket == "off" ? "ops.control is \"off\": have it read (systemctl reload, SIGHUP)\n"
                             : "no classgate runs here: it reads this when it starts\n";
    if (!command.quiet) conf::print(stdout, said);
    return 0;
  }
  const auto answer =
      ask_control(*socket, "POST", "/reload", fmt::format("rollback to {}", wanted->number));
  if (!answer) {
    conf::print(stdout, said);
    return complain_of_conf(
        answer.error() + "; nobody knows whether it was reloaded: classgate reload", 2);
  }
  if (answer->status != 200) {
    conf::print(stderr, answer->body);
    const std::string wrong = swap.back();
    return complain_of_conf(
        wrong.empty() ? "the reload was refused: the files are as they were"
                      : "the reload was refused, and not every file could be put back: " + wrong);
  }
  if (!command.quiet) conf::print(stdout, said + answer->body);
  return 0;
}

}  // namespace classgate::gateway
