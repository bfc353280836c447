package org.kernelgateway.jenkins.model;

/**
 * How {@code kernel-gateway run} ended: its exit codes, in words and as a verdict on the build.
 *
 * <p>Source: the table of exit codes in docs/command-line.md.
 */
public enum RunEnd {
    SUCCEEDED(0, "The run succeeded."),
    FAILED(1, "A cell failed, or a gate that fails the build was not met; the lines above say which."),
    USAGE(2, "The run was not started: an option or the source is not usable; the message above names it."),
    GATE_MISSED(3, "The code ran, but a gate was not met."),
    TIMED_OUT(4, "The run took longer than its timeout."),
    KERNEL_DIED(5, "The kernel died, or the machine that ran it was lost."),
    UNREACHABLE(6, "The kernel gateway could not be reached, or refused the run."),
    CANCELLED(130, "The run was cancelled."),
    OTHER(-1, "The kernel-gateway command did not run to its end.");

    /** What a step's end means for the build, in the words of {@code hudson.model.Result}. */
    public enum Verdict {
        SUCCESS,
        UNSTABLE,
        FAILURE,
        ABORTED
    }

    private final int exitCode;
    private final String sentence;

    RunEnd(int exitCode, String sentence) {
        this.exitCode = exitCode;
        this.sentence = sentence;
    }

    /** The end that an exit code stands for; any code that the command does not document is {@link #OTHER}. */
    public static RunEnd of(int exitCode) {
        for (RunEnd end : values()) {
            if (end != OTHER && end.exitCode == exitCode) {
                return end;
            }
        }
        return OTHER;
    }

    /** What the build becomes; {@code gateFails} is the choice onGate: 'failure'. */
    public Verdict verdict(boolean gateFails) {
        switch (this) {
            case SUCCEEDED:
                return Verdict.SUCCESS;
            case GATE_MISSED:
                return gateFails ? Verdict.FAILURE : Verdict.UNSTABLE;
            case CANCELLED:
                return Verdict.ABORTED;
            default:
                return Verdict.FAILURE;
        }
    }

    /** One sentence for the console. */
    public String sentence() {
        return sentence;
    }
}
