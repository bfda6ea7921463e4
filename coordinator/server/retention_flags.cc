#include "coordinator/server/retention_flags.h"

#include <CLI/CLI.hpp>

#include <map>
#include <string>

namespace entrain::server {
namespace {

constexpr std::int64_t kLongestSeconds = 100LL * 366 * 86'400;

// "90", "15m", "36h", "30d".
void AddAge(CLI::App* app, const std::string& name, std::int64_t* seconds, std::int64_t least, const std::string& help) {
  static const std::map<std::string, std::int64_t> kUnits = {{"s", 1}, {"m", 60}, {"h", 3'600}, {"d", 86'400}};
  app->add_option(name, *seconds, help)->transform(CLI::AsNumberWithUnit(kUnits))->check(CLI::Range(least, kLongestSeconds))->capture_default_str()->type_name("AGE")->group("Retention");
}

// "500000000", "500MB", "20GiB".
void AddSize(CLI::App* app, const std::string& name, std::int64_t* bytes, const std::string& help) {
  app->add_option(name, *bytes, help)->transform(CLI::AsSizeValue(true))->check(CLI::NonNegativeNumber)->capture_default_str()->type_name("SIZE")->group("Retention");
}

}  // namespace

void DeclareRetention(CLI::App* app, Options* options) {
  retention::Limits& limits = options->retention;
  app->add_option("--keep-checkpoints", limits.keep_newest, "Newest checkpoints kept of every run, beside its best and its newest healthy one; 0: as many as are listed")
      ->capture_default_str()->check(CLI::Range(0, 20))->group("Retention");
  AddAge(app, "--delete-checkpoints-after", &limits.delete_after_s, 0, "Of a sweep that ended so long ago only results stay, of a released one nothing; 0: never");
  AddAge(app, "--release-after", &limits.release_after_s, 0, "A sweep that ended so long ago is released by itself (entrain release); 0: never");
  AddSize(app, "--artifact-quota", &limits.artifact_quota_bytes, "Beyond it sweeps that ended are cut as by --delete-checkpoints-after, the longest over first; 0: none");
  AddAge(app, "--orphan-grace", &limits.orphan_grace_s, 60, "What nothing in the store names goes when nobody has touched it for so long");
  AddAge(app, "--delete-datasets-after", &limits.delete_datasets_after_s, 0, "A dataset that no sweep names goes when it is so old; 0: never");
  AddAge(app, "--thin-samples-after", &limits.thin_after_s, 0, "Samples of a sweep that ended so long ago are thinned; 0: never");
  app->add_option("--thinned-samples", limits.samples_kept, "About so many samples of a thinned run stay")
      ->capture_default_str()->check(CLI::Range(16, 100'000'000))->group("Retention");
  AddSize(app, "--sample-quota", &limits.sample_quota_bytes, "Beyond it samples of sweeps that ended are thinned, the longest over first; 0: none");
  AddSize(app, "--log-limit", &limits.log_bytes_per_run, "A run's log beyond it loses its oldest lines; 0: none");
  AddSize(app, "--log-quota", &limits.log_quota_bytes, "All logs beyond it: those of sweeps that ended go, the longest over first; 0: none");
  AddAge(app, "--retention-interval", &options->retention_interval_s, 0, "How often retention looks; 0: only when people ask (entrain gc)");
}

}  // namespace entrain::server
