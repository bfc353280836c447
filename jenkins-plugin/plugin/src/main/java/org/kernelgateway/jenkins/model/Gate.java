package org.kernelgateway.jenkins.model;

import java.io.Serializable;
import java.util.Map;

/** A condition on metrics and whether it was met: a row of {@code gates} in run.json. */
public class Gate implements Serializable {
    private static final long serialVersionUID = 1L;

    private final String expression;
    private final Double value;
    private final Double bound;
    private final Boolean passed;
    private final String message;

    public Gate(String expression, Double value, Double bound, Boolean passed, String message) {
        this.expression = expression;
        this.value = value;
        this.bound = bound;
        this.passed = passed;
        this.message = message;
    }

    static Gate of(Map<?, ?> row) {
        return new Gate(
                RunSummary.text(row.get("expression")),
                RunSummary.number(row.get("value")),
                RunSummary.number(row.get("bound")),
                row.get("passed") instanceof Boolean ? (Boolean) row.get("passed") : null,
                RunSummary.text(row.get("message")));
    }

    public String getExpression() {
        return expression;
    }

    /** The metric's value, or null if the run never measured it. */
    public Double getValue() {
        return value;
    }

    /** What the value was compared with, or null if that is unknown, e.g. without a baseline. */
    public Double getBound() {
        return bound;
    }

    /** Null if the gate could not be judged. */
    public Boolean getPassed() {
        return passed;
    }

    public String getMessage() {
        return message;
    }
}
