#include "tests/gateway/certificate.h"

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace classgate::gateway::test {
namespace {

// Gone with the process that made it.
struct Folder {
  Folder() {
    std::string path = (std::filesystem::temp_directory_path() / "classgate-tls-XXXXXX").string();
    if (::mkdtemp(path.data()) == nullptr) throw std::runtime_error("no temporary folder");
    place = path;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(place, ignored);
  }
  std::filesystem::path place;
};

}  // namespace

const conf::CertificateSettings& some_certificate() {
  static const Folder folder;
  static const conf::CertificateSettings pair = [] {
    const std::string certificate = (folder.place / "server.pem").string();
    const std::string key = (folder.place / "server.key").string();
    const std::string command =
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "
        "/CN=localhost -keyout '" +
        key + "' -out '" + certificate + "' 2> /dev/null";
    if (std::system(command.c_str()) != 0) throw std::runtime_error("openssl makes no certificate");
    return conf::CertificateSettings{certificate, key, "the test"};
  }();
  return pair;
}

}  // namespace classgate::gateway::test
