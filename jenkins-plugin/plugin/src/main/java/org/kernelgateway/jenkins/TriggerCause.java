package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.CheckForNull;
import hudson.Extension;
import hudson.Util;
import hudson.model.Action;
import hudson.model.Cause;
import hudson.model.CauseAction;
import hudson.model.ParameterValue;
import hudson.model.ParametersAction;
import hudson.model.Queue;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.kohsuke.stapler.export.Exported;

/**
 * Why {@code kernel-gateway triggers} started a build. It stands beside the cause that Jenkins finds itself, the user
 * whose API token was used.
 */
public class TriggerCause extends Cause {
    /** The parameters by which triggers tell; source: kernel_gateway/jenkins/triggers/builds.py. */
    private static final String ID_PARAMETER = "TRIGGER_ID";

    private static final String REASON_PARAMETER = "REASON";

    private static final int LONGEST = 300;

    private final String triggerId;
    private final String reason;

    TriggerCause(String triggerId, String reason) {
        this.triggerId = triggerId;
        this.reason = reason;
    }

    /** The id under which the trigger finds its build again. */
    @Exported(visibility = 3)
    public String getTriggerId() {
        return triggerId;
    }

    /** One line: the build's parameter may hold more. */
    @Exported(visibility = 3)
    public String getReason() {
        return reason;
    }

    @Override
    public String getShortDescription() {
        return "Started by a trigger of the kernel gateway" + (reason.isEmpty() ? "" : ": " + reason);
    }

    /** Jenkins counts equal causes of one build. */
    @Override
    public boolean equals(Object other) {
        return other instanceof TriggerCause && triggerId.equals(((TriggerCause) other).triggerId);
    }

    @Override
    public int hashCode() {
        return Objects.hash(triggerId);
    }

    /** Adds the cause to what goes into the queue with a trigger's id. A build that a person replays is that person's. */
    @Extension
    public static class Handler extends Queue.QueueDecisionHandler {
        @Override
        public boolean shouldSchedule(Queue.Task task, List<Action> actions) {
            String id = parameter(actions, ID_PARAMETER);
            CauseAction given = find(actions, CauseAction.class);
            if (id != null && given != null && isUserAlone(given)) {
                String told = Util.fixNull(parameter(actions, REASON_PARAMETER));
                List<Cause> causes = new ArrayList<>(given.getCauses());
                causes.add(new TriggerCause(id, line(told)));
                actions.set(actions.indexOf(given), new CauseAction(causes));
            }
            return true;
        }
    }

    private static boolean isUserAlone(CauseAction given) {
        List<Cause> causes = given.getCauses();
        return causes.size() == 1 && causes.get(0) instanceof Cause.UserIdCause;
    }

    /** A text of whoever may build: one line without control characters, of a bounded length. */
    private static String line(String text) {
        String plain = text.replaceAll("[\\s\\p{Cntrl}]+", " ").strip();
        return plain.length() > LONGEST ? plain.substring(0, LONGEST) + "…" : plain;
    }

    @CheckForNull
    private static String parameter(List<Action> actions, String name) {
        ParametersAction parameters = find(actions, ParametersAction.class);
        ParameterValue value = parameters == null ? null : parameters.getParameter(name);
        return value == null || value.isSensitive() ? null : Util.fixEmptyAndTrim(Util.fixNull(value.getValue(), "").toString());
    }

    @CheckForNull
    private static <T extends Action> T find(List<Action> actions, Class<T> type) {
        return actions.stream().filter(type::isInstance).map(type::cast).findFirst().orElse(null);
    }
}
