// A tap as a program, for conversations between machines: release_tap LISTEN SERVER CA CERTIFICATE KEY FILE. Writes what was said to FILE and
// ends when its standard input does.
#include <cstdio>
#include <iostream>

#include "base/files.h"
#include "tests/compatibility/tap.h"
#include "transport/tls.h"

int main(int argc, char** argv) {
  using namespace entrain;
  if (argc != 7) return 64;
  const transport::TlsFiles tls{argv[3], argv[4], argv[5]};
  compatibility::TapEnds ends;
  ends.listen = argv[1];
  ends.callers = transport::MakeServerCredentials(tls).value();
  ends.server = transport::MakeChannelCredentials(tls).value();
  compatibility::Tap tap(argv[2], compatibility::WithoutNames, ends);
  std::puts("listening");
  std::fflush(stdout);
  std::cin.peek();
  tap.Stop();
  return WriteFileAtomically(argv[6], compatibility::TextOf(tap.Records())).ok() ? 0 : 1;
}
