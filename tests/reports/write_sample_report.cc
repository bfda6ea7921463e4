// write_sample_report FILE.html: a report with every part that there is, for the tests in a browser.
#include <cstdio>

#include "base/files.h"
#include "reports/paper.h"
#include "reports/report.h"
#include "tests/reports/sample_sweep.h"

int main(int argc, char** argv) {
  using namespace entrain;
  if (argc != 2) return 64;
  const reports::SweepData sweep = reports::MakeFullSampleSweep();
  const reports::PaperComparison paper = reports::CompareWithPaper(*reports::FindPaperTable("architectures"), sweep);
  const absl::Status written = WriteFileAtomically(argv[1], reports::ReportHtml(sweep, &paper));
  if (!written.ok()) std::fprintf(stderr, "%s\n", std::string(written.message()).c_str());
  return written.ok() ? 0 : 1;
}
