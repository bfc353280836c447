package org.kernelgateway.jenkins;

import com.cloudbees.plugins.credentials.CredentialsMatchers;
import com.cloudbees.plugins.credentials.CredentialsProvider;
import com.cloudbees.plugins.credentials.common.StandardListBoxModel;
import edu.umd.cs.findbugs.annotations.CheckForNull;
import edu.umd.cs.findbugs.annotations.NonNull;
import hudson.AbortException;
import hudson.Util;
import hudson.model.Item;
import hudson.model.ItemGroup;
import hudson.model.Queue;
import hudson.model.Run;
import hudson.model.queue.Tasks;
import hudson.security.ACL;
import hudson.util.ListBoxModel;
import hudson.util.Secret;
import java.util.List;
import jenkins.model.Jenkins;
import org.jenkinsci.plugins.plaincredentials.StringCredentials;
import org.springframework.security.core.Authentication;

/** Gateways' tokens: credentials of the kind "Secret text", looked up where the one who asks may use them. */
final class Tokens {
    private Tokens() {}

    /** The token that a folder, or Jenkins itself, holds under an id; null without one. */
    @CheckForNull
    static Secret find(@CheckForNull String credentialsId, @NonNull ItemGroup<?> group, @NonNull Authentication who) {
        return Util.fixEmptyAndTrim(credentialsId) == null
                ? null
                : secret(
                        CredentialsProvider.lookupCredentialsInItemGroup(
                                StringCredentials.class, group, who, List.of()),
                        credentialsId);
    }

    /** The token that an item may use under an id, with the rights that its builds have; null without one. */
    @CheckForNull
    static Secret find(@CheckForNull String credentialsId, @NonNull Item item) {
        return Util.fixEmptyAndTrim(credentialsId) == null
                ? null
                : secret(
                        CredentialsProvider.lookupCredentialsInItem(
                                StringCredentials.class, item, authentication(item), List.of()),
                        credentialsId);
    }

    /**
     * The secret text of an id, for a build and with its rights.
     *
     * @throws AbortException if there is none that the build may use
     */
    @NonNull
    static Secret find(@NonNull String credentialsId, @NonNull Run<?, ?> run) throws AbortException {
        StringCredentials found =
                CredentialsProvider.findCredentialById(credentialsId, StringCredentials.class, run, List.of());
        if (found == null) {
            throw missing(credentialsId);
        }
        CredentialsProvider.track(run, found);
        return found.getSecret();
    }

    static AbortException missing(String credentialsId) {
        return new AbortException(
                "There is no secret text credential with the id '" + credentialsId + "' that this job may use.");
    }

    /** Entries of an administrator's drop-down list; only the present id for everyone else. */
    static ListBoxModel listForAdministrators(String present) {
        StandardListBoxModel entries = new StandardListBoxModel();
        if (Jenkins.get().hasPermission(Jenkins.ADMINISTER)) {
            entries.includeEmptyValue()
                    .includeMatchingAs(
                            ACL.SYSTEM2,
                            Jenkins.get(),
                            StringCredentials.class,
                            List.of(),
                            CredentialsMatchers.always());
        }
        return entries.includeCurrentValue(present);
    }

    /** Entries of a job's or folder's drop-down list; only the present id for who may not see credentials there. */
    static ListBoxModel list(@CheckForNull Item item, String present) {
        if (item == null) {
            return listForAdministrators(present);
        }
        StandardListBoxModel entries = new StandardListBoxModel();
        if (item.hasPermission(Item.EXTENDED_READ) || item.hasPermission(CredentialsProvider.USE_ITEM)) {
            entries.includeEmptyValue()
                    .includeMatchingAs(
                            authentication(item),
                            item,
                            StringCredentials.class,
                            List.of(),
                            CredentialsMatchers.always());
        }
        return entries.includeCurrentValue(present);
    }

    private static Authentication authentication(Item item) {
        return item instanceof Queue.Task ? Tasks.getAuthenticationOf2((Queue.Task) item) : ACL.SYSTEM2;
    }

    private static Secret secret(List<StringCredentials> candidates, String credentialsId) {
        return candidates.stream()
                .filter(candidate -> candidate.getId().equals(credentialsId.trim()))
                .findFirst()
                .map(StringCredentials::getSecret)
                .orElse(null);
    }
}
