"""Cells in every language, with what must come of them: the table that `test_languages` runs."""

from __future__ import annotations

from dataclasses import dataclass, field

TEXT = "héllo 世界 😀"


@dataclass
class Language:
    """Cells of one language. ``works``: (code, text that it prints or shows). ``fails``: (code, words of the error).
    ``child``: code whose child process prints ``child``. ``picture``: code that shows a PNG.
    ``asks``: (code, words of the refusal). ``ends``: code that ends the program with success; ``quits``: with 3.
    ``sleeps``, ``spins``: code without an end.
    """

    works: list[tuple[str, str]]
    fails: list[tuple[str, str]]
    stderr: str = ""
    child: str = ""
    picture: str = ""
    asks: list[tuple[str, str]] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)
    quits: list[str] = field(default_factory=list)
    sleeps: str = ""
    spins: str = ""


LANGUAGES: dict[str, Language] = {
    "python3": Language(
        works=[(f"print({TEXT!r})", TEXT), ("try:\n    1/0\nexcept ZeroDivisionError:\n    print('caught')", "caught")],
        fails=[("1/0", "ZeroDivisionError"), ("def f(:", "SyntaxError"), ("nope", "NameError"), ("exit(3)", "3")],
        stderr="import sys; print('to stderr', file=sys.stderr)",
        child="import subprocess; subprocess.run(['echo', 'child']);",
        picture="import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        asks=[("input()", "input")],
        ends=["import sys; sys.exit(0)"],
        sleeps="import time; time.sleep(600)",
        spins="while True: pass",
    ),
    "ir": Language(
        works=[
            (f"cat('{TEXT}\\n')", TEXT),
            ("tryCatch(stop('x'), error = function(e) cat('caught'))", "caught"),
            ("cat('Error: not an error')", "Error: not an error"),
            ("warning('only a warning'); 5", "5"),
        ],
        fails=[
            ("stop('boom')", "Error: boom"),
            ("nope", "object 'nope' not found"),
            ("f <- function( {", "unexpected '{'"),
            ("1 + 'a'", "non-numeric argument"),
            ("library(not.there)", "no package called"),
        ],
        stderr="message('to stderr')",
        child="system('echo child')",
        picture="plot(1:3)",
        asks=[("readline('name? ')", "asked for input")],
        ends=["cat('before'); quit(status = 0)\ncat('NOT REACHED')", "q('no')"],
        quits=["quit(status = 3)\ncat('NOT REACHED')", "tryCatch(q('no', 3), error = function(e) cat('NOT REACHED'))"],
        sleeps="Sys.sleep(600)",
        spins="while (TRUE) {}",
    ),
    "bash": Language(
        works=[
            (f"echo '{TEXT}'", TEXT),
            ("false || echo caught", "caught"),
            ("echo Restarting Bash", "Restarting Bash"),
            ('f() {\n\techo "in\t$1" # tab\n}\nf 1 # comment', "in\t1"),
            ("cat <<'EOT'\nmulti $x\nline\nEOT", "multi $x\nline"),
            ("case x in x) echo X;; esac", "X"),
            ("echo 'wow!! !x'", "wow!! !x"),
            ("alias hi='echo aliased'\nhi there", "aliased there"),
            ("shopt -s extglob\nfor f in @(a|b); do echo $f; done", "@(a|b)"),
            (f"x='{'a' * 9000}'; echo ${{#x}}", "9000"),
            ("\n".join(f"y={n}" for n in range(5000)) + "\necho $y", "4999"),
            ("for i in 1 2; do\r\n  echo crlf $i\r\ndone\r\n", "crlf 2"),
            ('read x; echo "status $?"', "status 1"),
            ("echo trailing \\", "trailing"),
            ("x=$(mktemp -u); exec >$x; echo hidden", ""),
            ("echo 'still hidden'; exec >/dev/tty; grep -c hidden $x >&2", ""),
        ],
        fails=[
            ("false", "exit code 1"),
            ("no-such-command", "exit code 127"),
            ("if [ 1 = ", "exit code 2"),
            ('echo "unclosed', "exit code"),
            ("set -u; echo $NOT_SET; echo NOT REACHED", "exit code 1"),
            ("set +u; return 4", "exit code 4"),
        ],
        child="sh -c 'echo child'",
        ends=["trap 'echo from the trap' EXIT; exit 0", "exec true"],
        quits=["exit 3", "set -e; (exit 3); echo NOT REACHED", "exec sh -c 'exit 3'"],
        sleeps="sleep 600",
        spins="while :; do :; done",
    ),
    "octave": Language(
        works=[
            (f"disp('{TEXT}')", TEXT),
            ("try, error('x'); catch, disp('caught'); end", "caught"),
            ("disp('error: x')", "error: x"),
            ("warning('careful')", "careful"),
            ("function y = sq(x)\n  y = x^2;\nend\nsq(4)", "ans = 16"),
            ("% a comment\n1 + 1", "ans = 2"),
            (f"x = '{'a' * 9000}'; length(x)", "9000"),
            ("clear all", ""),
        ],
        fails=[
            ("error('boom')", "boom"),
            ("error('my:id', 'boom %d', 3)", "my:id: boom 3"),
            ("nope", "'nope' undefined"),
            ("x = [1 2\ny = (", "parse error"),
        ],
        child="system('echo child');",
        picture="plot(1:3)",
        ends=["exit", "quit(0)"],
        quits=["exit(3)\ndisp('NOT REACHED')"],
        sleeps="pause(600)",
        spins="while true, end",
        asks=[("keyboard", "asked for input"), ("x = input('name? ')", "asked for input")],
    ),
    "deno": Language(
        works=[
            (f"console.log('{TEXT}')", TEXT),
            ("try { throw 1 } catch { console.log('caught') }", "caught"),
            ("const n: number = 5; n + 1", "6"),
            ("prompt('name?')", ""),
        ],
        fails=[
            ("throw new Error('boom')", "Error: boom"),
            ("throw 'a string'", "a string"),
            ("nope", "nope is not defined"),
            ("let x = (", "SyntaxError"),
            ("await Promise.reject(new TypeError('rejected'))", "TypeError: rejected"),
            (
                "void Promise.reject(new TypeError('gone')); await new Promise(r => setTimeout(r, 50))",
                "TypeError: gone",
            ),
            ("setTimeout(() => { throw new Error('late') }, 5); await new Promise(r => setTimeout(r, 80))", "late"),
        ],
        stderr="console.error('to stderr')",
        ends=["Deno.exit(0)"],
        quits=["Deno.exit(3)"],
        spins="while (true) {}",
    ),
    "java": Language(
        works=[
            (f'System.out.println("{TEXT}");', TEXT),
            ('try { throw new Exception("x"); } catch (Exception e) { System.out.println("caught"); }', "caught"),
        ],
        fails=[
            ('throw new RuntimeException("boom");', "java.lang.RuntimeException: boom"),
            ('int y = "x";', "cannot be converted"),
            ("nope", "cannot find symbol"),
            ("int f( {", "incomplete"),
            ("int zero = 0; int bad = 1 / zero;", "java.lang.ArithmeticException: / by zero"),
        ],
        stderr='System.err.println("to stderr");',
        child='new ProcessBuilder("echo", "child").inheritIO().start().waitFor()',
        asks=[("new java.util.Scanner(System.in).nextLine()", "No line found")],
        ends=["System.exit(0);"],
        quits=["System.exit(3);"],
        sleeps="Thread.sleep(600000);",
        spins="while (true) {}",
    ),
    "kotlin": Language(
        works=[
            (f'println("{TEXT}")', TEXT),
            ('try { throw Exception("x") } catch (e: Exception) { println("caught") }', "caught"),
        ],
        fails=[
            ('throw RuntimeException("boom")', "java.lang.RuntimeException: boom"),
            ('val y: Int = "x"', "Type mismatch"),
            ("nope", "Unresolved reference"),
            ("fun f( {", "Expecting"),
        ],
        stderr='System.err.println("to stderr")',
        asks=[("readLine()", "unsupported")],
        sleeps="Thread.sleep(600000)",
    ),
    "sql": Language(
        works=[
            (f"create table t (a int); insert into t values (7); select '{TEXT}' as x, a from t", TEXT),
            ("-- a comment\nselect 41 + 1 as answer", "42"),
            ("%sql select 'by magic' as x", "by magic"),
        ],
        fails=[
            ("select * from nope", "CatalogException: Catalog Error: Table with name nope"),
            ("selec 1", "ParserException: Parser Error: syntax error"),
            ("select cast('abc' as int)", "ConversionException: Conversion Error"),
        ],
    ),
}
