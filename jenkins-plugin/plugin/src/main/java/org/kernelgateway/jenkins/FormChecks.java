package org.kernelgateway.jenkins;

import edu.umd.cs.findbugs.annotations.CheckForNull;
import hudson.Util;
import hudson.model.Item;
import hudson.util.FormValidation;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import jenkins.model.Jenkins;

/** What forms check of a field's text while it is typed. Every check is for those alone who may configure the item. */
final class FormChecks {
    private FormChecks() {}

    /** Raises AccessDeniedException for everybody else; without an item it is an administrator's matter. */
    static void mayConfigure(@CheckForNull Item item) {
        if (item == null) {
            Jenkins.get().checkPermission(Jenkins.ADMINISTER);
        } else {
            item.checkPermission(Item.CONFIGURE);
        }
    }

    /** Something must be there; `sentence` says what. */
    static FormValidation required(@CheckForNull Item item, @CheckForNull String value, String sentence) {
        mayConfigure(item);
        return Util.fixEmptyAndTrim(value) == null ? FormValidation.error(sentence) : FormValidation.ok();
    }

    /** Nothing, or a text in which `problem` finds none: it returns a sentence, or null. */
    static FormValidation sound(
            @CheckForNull Item item, @CheckForNull String value, UnaryOperator<String> problem) {
        mayConfigure(item);
        String text = Util.fixEmptyAndTrim(value);
        String found = text == null ? null : problem.apply(text);
        return found == null ? FormValidation.ok() : FormValidation.error(found);
    }

    /** A text that `reader` takes; it throws IllegalArgumentException with a sentence for what it can't read. */
    static FormValidation readable(@CheckForNull Item item, @CheckForNull String value, Consumer<String> reader) {
        mayConfigure(item);
        try {
            reader.accept(Util.fixNull(value));
            return FormValidation.ok();
        } catch (IllegalArgumentException wrong) {
            return FormValidation.error(wrong.getMessage());
        }
    }

    /** Nothing, or a number above zero. */
    static FormValidation positive(@CheckForNull Item item, @CheckForNull String value) {
        return sound(item, value, text -> {
            try {
                return Double.parseDouble(text) > 0 ? null : "Enter a number above zero, or nothing.";
            } catch (NumberFormatException noNumber) {
                return "Enter a number, or nothing.";
            }
        });
    }
}
